from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.load import Files, loader, ours, plain, prepare
from benchmarks.plain_loops import PLAIN_LOOPS, read_pyav
from benchmarks.rendered_videos import render_videos
from t3d.errors import ConfigError, DataError
from t3d.video import pyav_reader
from t3d.video.decode import open_video
from t3d.video.packets import PacketIndex, read_packet_index


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video hardly longer than a clip."""
    return render_videos(tmp_path_factory.mktemp("rendered"), count=1, num_frames=70)[0]


@pytest.fixture
def files(rendered: Path) -> Files:
    return Files(original=[rendered], prepared=[rendered], lengths=[70])


@pytest.mark.parametrize("library", PLAIN_LOOPS)
def test_each_loop_gives_the_frames_that_ours_gives(library: str, rendered: Path) -> None:
    try:
        frames = PLAIN_LOOPS[library](rendered, range(5, 68, 2))
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{library}: {error}")
    with open_video(rendered) as video:
        assert (frames.short() - video.frames(range(5, 68, 2))).abs().float().mean() < 1


def test_rendered_videos_differ_and_each_frame_from_the_next(tmp_path: Path) -> None:
    first, second = render_videos(tmp_path, count=2, num_frames=4)
    with open_video(first) as one, open_video(second) as other:
        frames = one.frames(range(4)).float()
        assert frames.shape == (4, 240, 320, 3)
        assert (frames.diff(dim=0).abs().mean(dim=(1, 2, 3)) > 1).all()
        assert (frames - other.frames(range(4))).abs().mean() > 10


def test_every_variant_gives_as_many_clips_of_one_size(files: Files) -> None:
    shapes = [[tuple(clip.shape) for clip in step()] for step in (plain(library="PyAV", files=files),)]
    shapes += [[tuple(clip.shape) for clip, _ in ours(prepared=kind, files=files)()] for kind in (False, True)]
    shapes += [[tuple(clip.shape) for clip, _ in ours(prepared=True, files=files, first_visit=True)()]]
    assert shapes == [[(3, 32, 224, 224)] * 4] * 4
    assert loader(prepared=True, files=files, num_workers=0)() is None


@pytest.mark.parametrize(("first_visit", "reads"), [(False, 1), (True, 5)])
def test_a_first_visit_reads_the_packets_for_each_clip(
    first_visit: bool, reads: int, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(container: object, stream: object, name: str) -> PacketIndex | None:
        read.append(name)
        return read_packet_index(container, stream, name)  # type: ignore[arg-type]

    monkeypatch.setattr(pyav_reader, "read_packet_index", counted)
    pyav_reader.forget_files()
    open_video(files.original[0]).close()
    ours(prepared=False, files=files, first_visit=first_visit)()
    assert len(read) == reads


def test_a_loop_that_gives_other_frames_is_refused(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    early = lambda path, indices: read_pyav(path, [max(index - 1, 0) for index in indices])  # noqa: E731
    monkeypatch.setitem(PLAIN_LOOPS, "PyAV", early)
    with pytest.raises(ConfigError, match="other frames"):
        plain(library="PyAV", files=files)


def test_a_library_that_is_missing_is_said_to_be(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> torch.Tensor:
        raise ImportError("No module named 'decord'")

    monkeypatch.setitem(PLAIN_LOOPS, "decord", missing)
    with pytest.raises(ConfigError, match="decord"):
        plain(library="decord", files=files)


def test_videos_that_cannot_be_used_are_left_out_and_named(
    rendered: Path, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    short, broken = make_video(length=62), tmp_path / "broken.mp4"
    broken.write_text("no video")
    files = prepare([short, broken, rendered], tmp_path)
    assert list(files.original) == [rendered]
    assert [str(path) in reason for path, reason in zip((short, broken), files.left_out, strict=True)] == [True, True]
    with pytest.raises(DataError, match="62 frames"):
        prepare([short], tmp_path)
