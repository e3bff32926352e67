from pathlib import Path

import pytest

from program import Call, write_dataset
from t3d.commands import _datasets as datasets
from t3d.data import shapes
from t3d.errors import DataError


def test_data_shows_classes_in_the_order_of_the_outputs(dataset: Path, t3d: Call) -> None:
    outcome = t3d("data", dataset)
    assert (outcome.code, outcome.err) == (0, "")
    cells = [line.strip("│ ").replace("│", " ").split() for line in outcome.out.splitlines()]
    assert cells.index(["a", "4", "3"]) < cells.index(["b", "4", "2"])
    assert ["videos", "8", "5"] in cells
    assert ["groups", "8", "5"] in cells


def test_data_lists_videos_that_do_not_decode(t3d: Call, tmp_path: Path) -> None:
    data = write_dataset(tmp_path)
    (tmp_path / "clips" / "train2.mp4").write_bytes(b"")
    outcome = t3d("data", data, "--decode")
    assert outcome.code == 1
    assert f"cannot be decoded: {tmp_path / 'clips' / 'train2.mp4'}" in outcome.out
    assert t3d("data", data).code == 0


def test_data_warns_of_shared_groups(t3d: Call, tmp_path: Path) -> None:
    data = write_dataset(tmp_path)
    data.write_text(data.read_text().replace(",test0\n", ",train0\n"))
    outcome = t3d("data", data)
    assert outcome.code == 1
    assert "'train0'" in outcome.err


def test_built_in_videos_are_rendered_once_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T3D_CACHE", str(tmp_path / "cache"))
    asked: list[Path] = []
    monkeypatch.setattr(shapes, "render_shapes", lambda folder, **_: asked.append(folder) or folder)
    assert datasets.resolve(Path("temporal-shapes")) == tmp_path / "cache" / "temporal-shapes"
    assert asked == [tmp_path / "cache" / "temporal-shapes"]


def test_cache_lies_where_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("T3D_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert datasets.cache_folder() == tmp_path / "t3d"


def test_absent_data_names_the_built_in() -> None:
    with pytest.raises(DataError, match="nowhere: no such folder or file; give videos, or temporal-shapes"):
        datasets.resolve(Path("nowhere"))
