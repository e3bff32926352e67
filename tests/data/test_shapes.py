import inspect
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from t3d.data.formats import load_videos
from t3d.data.shape_frames import SHAPE_CLASSES
from t3d.data.shapes import render_shapes
from t3d.data.splits import check_disjoint
from t3d.errors import DataError

SMALL = {"num_train_per_class": 3, "num_test_per_class": 3, "num_frames": 8, "edge": 16}
TINY = SMALL | {"num_train_per_class": 1, "num_test_per_class": 1}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of each class and part."""
    return render_shapes(tmp_path_factory.mktemp("shapes") / "tiny", **TINY)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("shapes") / "set", **SMALL)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_list_is_read_back_complete(rendered: Path) -> None:
    train, test = (load_videos(rendered, subset=subset) for subset in ("train", "test"))
    assert train.labels == test.labels == SHAPE_CLASSES
    for videos in (train, test):
        assert videos.missing == videos.warnings == ()
        assert Counter(sample.label for sample in videos.samples) == dict.fromkeys(range(12), 3)
        assert Counter(sample.tag for sample in videos.samples) == {"short": 12, "medium": 12, "long": 12}
        assert len({sample.group for sample in videos.samples}) == 36
    check_disjoint(train, test)


def test_by_default_there_are_enough_test_videos_of_every_range() -> None:
    count = inspect.signature(render_shapes).parameters["num_test_per_class"].default
    assert 12 * count >= 240
    assert count % 3 == 0


def test_videos_have_the_asked_size_and_length(rendered: Path) -> None:
    for path in list(rendered.rglob("*.mp4"))[::10]:
        assert decode(path).shape == (8, 16, 16, 3)


def test_no_two_videos_share_a_draw(rendered: Path) -> None:
    """A twin of the same draw would have the same mean colours up to coding noise, whatever its order."""
    paths = sorted(rendered.rglob("*.mp4"))
    means = np.stack([decode(path).mean(axis=(0, 1, 2)) for path in paths])
    distances = np.abs(means[:, None] - means[None]).max(axis=-1) + 255 * np.eye(len(paths))
    assert len(paths) == 72
    assert distances.min() > 0.5


def test_another_seed_gives_other_files(tiny: Path, tmp_path: Path) -> None:
    one, other = contents(tiny), contents(render_shapes(tmp_path / "set", **TINY, seed=1))
    assert one.keys() == other.keys()
    assert not any(other[name] == data for name, data in one.items() if name.endswith(".mp4"))


def test_a_complete_folder_is_left_alone(rendered: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in rendered.rglob("*")}
    calls: list[tuple[int, int]] = []
    assert render_shapes(rendered, **SMALL, progress=lambda done, total: calls.append((done, total))) == rendered
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in rendered.rglob("*")} == before


def _stop_after(count: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done == count:
            raise KeyboardInterrupt

    return progress


def test_two_processes_give_equal_files(tiny: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    two = render_shapes(tmp_path / "set", **TINY, num_workers=2, progress=lambda *call: calls.append(call))
    assert calls == [(done, 24) for done in range(1, 25)]
    assert contents(two) == contents(tiny)


def test_an_interrupted_rendering_goes_on_where_it_stopped_to_equal_files(tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        render_shapes(root, **TINY, progress=_stop_after(5))
    assert not root.exists()
    finished = {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / ".set.partial/train/cross_then_disc").iterdir()
    }
    calls: list[tuple[int, int]] = []
    render_shapes(root, **TINY, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 24) for done in range(1, 25)]
    assert {path.name: path.stat().st_mtime_ns for path in (root / "train/cross_then_disc").iterdir()} == finished
    assert contents(root) == contents(tiny)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_other_arguments_replace_what_was_rendered_before(tmp_path: Path) -> None:
    root = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        render_shapes(root, **SMALL, seed=7, progress=_stop_after(1))
    render_shapes(root, **TINY)
    assert len(list(root.rglob("*.mp4"))) == 24
    render_shapes(root, **TINY, seed=2)
    assert json.loads((root / "shapes.json").read_text())["seed"] == 2


def test_a_folder_of_something_else_is_never_touched(tmp_path: Path) -> None:
    precious = tmp_path / "set" / "thesis.txt"
    precious.parent.mkdir()
    precious.touch()
    for root in (precious.parent, precious):
        with pytest.raises(DataError, match="not a folder of rendered shapes"):
            render_shapes(root, **SMALL)
    assert precious.exists()


@pytest.mark.parametrize("wrong", [{"num_frames": 3}, {"edge": 14}, {"edge": 65}, {"num_test_per_class": 0}])
def test_impossible_sizes_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"must (both )?be at least"):
        render_shapes(tmp_path / "set", **(SMALL | wrong))
