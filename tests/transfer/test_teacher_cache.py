import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from t3d.data.samples import Sample
from t3d.errors import CheckpointError, DecodeError
from t3d.transfer.teacher_cache import TeacherCache, cache_facts, cache_name, fill_cache, identity_of
from t3d.transfer.teachers import FrozenTeacher
from t3d.video.decode import VideoReader, open_video
from t3d.video.spec import ClipSpec, PixelSpec
from t3d.video.transforms import centre_view, normalise

CLIP = ClipSpec(num_frames=4, frame_stride=2)  # spans 7 frames
PIXELS = PixelSpec(resize=24, crop_size=20)
NAMES = ("a", "b", "c", "d", "e")

MakeVideo = Callable[..., Path]


class Counting(nn.Module):
    """A convolution and batch norm whose passes are counted."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(6, 3, 5, 5, generator=generator))
        self.norm = nn.BatchNorm2d(6)
        self.passes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, 6, h, w)."""
        self.passes.append(len(images))
        return self.norm(nn.functional.conv2d(images, self.weight, stride=2)).relu()


def _teacher(seed: int = 0) -> FrozenTeacher:
    return FrozenTeacher(Counting(seed), name="counting", num_features=6, pixels=PIXELS)


def _facts(teacher: FrozenTeacher, **options: object) -> dict[str, Any]:
    return cache_facts(teacher, **{"clip": CLIP, "num_pictures": 2, "most": 3, **options})


@pytest.fixture
def videos(make_video: MakeVideo) -> tuple[Sample, ...]:
    """Five files of 20 to 24 frames: two windows of seven frames in the first, three in the others."""
    paths = [make_video(f"{name}.mp4", length=20 + index) for index, name in enumerate(NAMES)]
    return tuple(Sample(name=path.name, path=path, label=-1, group=path.name) for path in paths)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[TeacherCache]:
    with TeacherCache(tmp_path / "cache" / "one.sqlite", _facts(_teacher())) as opened:
        yield opened


def _content(cache: TeacherCache, samples: Sequence[Sample]) -> list[tuple[tuple[int, ...], bytes] | None]:
    found = [cache.get(identity_of(sample)) for sample in samples]
    return [video and (video.starts, video.features.numpy().tobytes()) for video in found]


def test_features_are_the_mean_over_the_pictures_of_each_window(
    cache: TeacherCache, videos: tuple[Sample, ...]
) -> None:
    """Twenty frames: two windows of seven in the middle of halves, from frames 1 and 11; positions 1 and 3 of 4."""
    teacher = _teacher()
    assert fill_cache(cache, teacher, videos, num_workers=0) == []
    video = cache.get(identity_of(videos[0]))
    assert video is not None
    assert video.starts == (1, 11)
    assert video.features.dtype == torch.float32
    with open_video(videos[0].path) as reader:
        for start, features in zip(video.starts, video.features, strict=True):
            clip = centre_view(reader.frames([start + 2, start + 6]), PIXELS)
            images = normalise(clip[None], PIXELS)[0].permute(1, 0, 2, 3)
            torch.testing.assert_close(features, (teacher(images[:1])[0] + teacher(images[1:])[0]) / 2)


def test_the_teacher_looks_once_at_each_window_and_never_again(cache: TeacherCache, videos: tuple[Sample, ...]) -> None:
    teacher, told = _teacher(), []
    fill_cache(cache, teacher, videos, num_workers=0, progress=lambda *counts: told.append(counts))
    assert teacher.network.passes == [2] * (2 + 3 + 3 + 3 + 3)
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert fill_cache(cache, teacher, videos, num_workers=0, progress=lambda *counts: told.append(counts)) == []
    assert len(teacher.network.passes) == 14
    assert len(told) == 5


def test_workers_change_no_bit(tmp_path: Path, videos: tuple[Sample, ...]) -> None:
    found = []
    for num_workers in (0, 2):
        with TeacherCache(tmp_path / f"{num_workers}.sqlite", _facts(_teacher())) as cache:
            assert fill_cache(cache, _teacher(), videos, num_workers=num_workers) == []
            found.append(_content(cache, videos))
    assert found[0] == found[1]
    assert None not in found[0]


def test_what_is_already_there_changes_no_bit_of_the_rest(tmp_path: Path, videos: tuple[Sample, ...]) -> None:
    with TeacherCache(tmp_path / "whole.sqlite", _facts(_teacher())) as whole:
        fill_cache(whole, _teacher(), videos, num_workers=0)
        expected = _content(whole, videos)
    with TeacherCache(tmp_path / "parts.sqlite", _facts(_teacher())) as parts:
        fill_cache(parts, _teacher(), videos[3:], num_workers=0)
        fill_cache(parts, _teacher(), videos[::-1], num_workers=0)
        assert _content(parts, videos) == expected


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
sys.path.insert(0, {tests!r})
import test_teacher_cache as here
from t3d.data.samples import Sample

torch.set_num_threads(1)
teacher = here._teacher()
look = teacher.network.forward

def look_and_die(images):
    if len(teacher.network.passes) == {passes}:
        os.kill(os.getpid(), signal.SIGKILL)
    return look(images)

teacher.network.forward = look_and_die
samples = [Sample(name=path, path=Path(path), label=-1, group=path) for path in {paths!r}]
with here.TeacherCache(Path({cache!r}), here._facts(teacher)) as cache:
    here.fill_cache(cache, teacher, samples, num_workers={num_workers})
"""


@pytest.mark.parametrize(("passes", "num_workers"), [(7, 0), (6, 2)])
def test_killed_in_the_middle_of_a_video_and_resumed_equals_uninterrupted(
    passes: int, num_workers: int, tmp_path: Path, cache: TeacherCache, videos: tuple[Sample, ...]
) -> None:
    path, paths = tmp_path / "killed.sqlite", [str(sample.path) for sample in videos]
    names = {"tests": str(Path(__file__).parent), "cache": str(path), "paths": paths}
    script = KILLED.format(**names, passes=passes, num_workers=num_workers)
    with (tmp_path / "stderr.txt").open("w") as said:  # no pipe: orphaned workers would keep it open for a while
        killed = subprocess.run([sys.executable, "-c", script], stderr=said, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, (tmp_path / "stderr.txt").read_text()
    teacher = _teacher()
    with TeacherCache(path, _facts(teacher)) as resumed:
        before = _content(resumed, videos)
        kept = [content for content in before if content is not None]
        assert 1 <= len(kept) < len(videos)
        fill_cache(resumed, teacher, videos, num_workers=num_workers)
        after = _content(resumed, videos)
    assert len(teacher.network.passes) == 14 - sum(len(starts) for starts, _ in kept)  # those kept are not done again
    fill_cache(cache, _teacher(), videos, num_workers=0)
    assert after == _content(cache, videos)
    assert [one for one, other in zip(after, before, strict=True) if other is not None] == kept


def _flip_a_byte(path: Path, needle: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(needle) + len(needle) // 2] ^= 0x81
    path.write_bytes(content)


@pytest.mark.parametrize("part", ["features", "starts"])
def test_a_damaged_row_is_noticed_and_computed_again(
    part: str, cache: TeacherCache, videos: tuple[Sample, ...]
) -> None:
    fill_cache(cache, _teacher(), videos, num_workers=0)
    expected = _content(cache, videos)
    video = cache.get(identity_of(videos[0]))
    assert video is not None
    needle = video.features.numpy().tobytes() if part == "features" else b"[1, 11]"
    cache.close()
    _flip_a_byte(cache.path, needle)
    teacher = _teacher()
    with TeacherCache(cache.path, cache.facts) as again:
        assert again.get(identity_of(videos[0])) is None
        assert again.damaged == 1
        assert fill_cache(again, teacher, videos, num_workers=0) == []
        assert len(teacher.network.passes) == 2  # its windows only
        assert _content(again, videos) == expected
        assert again.damaged == 1


def test_a_damaged_database_is_named_with_the_remedy(cache: TeacherCache) -> None:
    for number in range(200):
        cache.add(f"video {number}", [0], torch.full((1, 6), float(number)))
    cache.close()
    content = bytearray(cache.path.read_bytes())
    content[4096:] = bytes(len(content) - 4096)  # all pages but the first
    cache.path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"one\.sqlite: cannot be used as teacher cache \(.*\); delete it, or "):
        TeacherCache(cache.path, cache.facts).get("video 7")


def test_a_row_of_another_shape_is_damaged_though_its_checksum_holds(
    cache: TeacherCache, videos: tuple[Sample, ...]
) -> None:
    facts = {**cache.facts, "num_features": 12}
    with TeacherCache(cache.path.with_name("wide.sqlite"), facts) as wide:
        wide.add("video", [0], torch.ones(1, 12))
    connection = sqlite3.connect(cache.path.with_name("wide.sqlite"))
    connection.execute("UPDATE meta SET value = ?", (json.dumps(cache.facts, sort_keys=True),))
    connection.commit()
    connection.close()
    with TeacherCache(cache.path.with_name("wide.sqlite"), cache.facts) as narrow:
        assert narrow.get("video") is None
        assert narrow.damaged == 1


def test_a_file_that_changed_is_computed_again(cache: TeacherCache, videos: tuple[Sample, ...]) -> None:
    fill_cache(cache, _teacher(), videos, num_workers=0)
    status = videos[1].path.stat()
    os.utime(videos[1].path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    assert cache.get(identity_of(videos[1])) is None
    teacher = _teacher()
    fill_cache(cache, teacher, videos, num_workers=0)
    assert len(teacher.network.passes) == 3


def test_pieces_of_one_file_are_kept_apart(cache: TeacherCache, videos: tuple[Sample, ...]) -> None:
    pieces = [replace(videos[4], start_seconds=start, end_seconds=start + 0.4) for start in (0.0, 0.4)]  # ten frames
    fill_cache(cache, _teacher(), [*pieces, videos[4]], num_workers=0)
    assert [content and content[0] for content in _content(cache, [*pieces, videos[4]])] == [(1,), (11,), (0, 8, 16)]


def test_one_video_listed_twice_is_looked_at_once(cache: TeacherCache, videos: tuple[Sample, ...]) -> None:
    teacher = _teacher()
    fill_cache(cache, teacher, [videos[0], replace(videos[0], name="again")], num_workers=0)
    assert len(teacher.network.passes) == 2


@pytest.mark.parametrize("num_workers", [0, 2])
def test_videos_that_cannot_be_read_are_named_and_tried_again(
    num_workers: int, cache: TeacherCache, videos: tuple[Sample, ...], tmp_path: Path
) -> None:
    empty, absent = tmp_path / "empty.mp4", tmp_path / "absent.mp4"
    empty.touch()
    bad = [Sample(name=path.name, path=path, label=-1, group=path.name) for path in (empty, absent)]
    errors = fill_cache(cache, _teacher(), [bad[0], *videos, bad[1]], num_workers=num_workers)
    assert sorted(error.split(":")[0] for error in errors) == sorted([str(empty), str(absent)])
    assert None not in _content(cache, videos)
    empty.write_bytes(videos[0].path.read_bytes())
    assert fill_cache(cache, _teacher(), [bad[0]], num_workers=num_workers) == []
    assert _content(cache, bad[:1])[0] == _content(cache, videos[:1])[0]


def test_a_video_that_breaks_half_way_leaves_nothing(cache: TeacherCache, videos: tuple[Sample, ...]) -> None:
    class Torn:
        """Frames up to the tenth only."""

        def __init__(self, path: Path) -> None:
            self.reader = open_video(path)

        def __getattr__(self, name: str) -> object:
            return getattr(self.reader, name)

        def __enter__(self) -> "Torn":
            return self

        def __exit__(self, *_: object) -> None:
            self.reader.close()

        def frames(self, indices: Tensor) -> Tensor:
            if int(indices.max()) > 10:
                raise DecodeError("b.mp4: frame 11 is damaged")
            return self.reader.frames(indices)

    def source(path: Path) -> VideoReader | Torn:
        return Torn(path) if path.name == "b.mp4" else open_video(path)

    assert fill_cache(cache, _teacher(), videos[:3], num_workers=0, source=source) == ["b.mp4: frame 11 is damaged"]
    assert [content is None for content in _content(cache, videos[:3])] == [False, True, False]


def test_every_fact_makes_another_name() -> None:
    teacher = _teacher()
    other_pixels = _teacher()
    other_pixels.pixels = replace(PIXELS, crop_size=16)
    facts = [
        _facts(teacher),
        _facts(_teacher(seed=1)),
        _facts(other_pixels),
        _facts(teacher, clip=replace(CLIP, num_frames=5)),
        _facts(teacher, clip=replace(CLIP, frame_stride=1)),
        _facts(teacher, clip=replace(CLIP, short="hold")),
        _facts(teacher, num_pictures=1),
        _facts(teacher, most=2),
    ]
    assert len({cache_name(each) for each in facts}) == len(facts)
    assert cache_name(_facts(_teacher())) == cache_name(facts[0])
    assert cache_name(_facts(teacher, num_pictures=4)) == cache_name(
        _facts(teacher, num_pictures=32)
    )  # all of 4 frames
    assert cache_name(_facts(teacher, clip=replace(CLIP, order="shuffled"))) == cache_name(
        facts[0]
    )  # a mean has no order


def test_a_name_is_the_same_in_every_process() -> None:
    """Of `printf '%s' '{"a": "x", "b": [1, 2.5]}' | sha256sum`, the first 16."""
    assert cache_name({"b": [1, 2.5], "a": "x"}) == cache_name({"a": "x", "b": [1, 2.5]}) == "0acd2d90f0cd6e85"


def test_two_teachers_do_not_mix(cache: TeacherCache, videos: tuple[Sample, ...]) -> None:
    with pytest.raises(CheckpointError, match=r"one\.sqlite: made by another teacher or for other windows; delete it$"):
        TeacherCache(cache.path, _facts(_teacher(seed=1)))
    with pytest.raises(AssertionError):
        fill_cache(cache, _teacher(seed=1), videos, num_workers=0)


def test_people_can_read_what_a_cache_is_of(cache: TeacherCache) -> None:
    connection = sqlite3.connect(cache.path)
    ((facts,),) = connection.execute("SELECT value FROM meta WHERE name = 'facts'").fetchall()
    connection.close()
    assert json.loads(facts) == cache.facts
    assert json.loads(facts)["clip"] == {"num_frames": 4, "frame_stride": 2, "short": "loop"}


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    text, foreign = tmp_path / "text.sqlite", tmp_path / "foreign.sqlite"
    text.write_text("not a database, but long enough to look at: " * 20)
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE meta (name TEXT)")
    connection.commit()
    connection.close()
    for path, reason in ((text, "file is not a database"), (foreign, "no teacher cache"), (tmp_path, "unable to open")):
        before = path.read_bytes() if path.is_file() else None
        with pytest.raises(CheckpointError, match=reason) as raised:
            TeacherCache(path, _facts(_teacher()))
        assert str(raised.value).startswith(f"{path}: ")
        assert "\n" not in str(raised.value)
        assert before == (path.read_bytes() if path.is_file() else None)


def test_a_cache_stopped_before_its_tables_were_made_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "begun.sqlite").touch()
    with TeacherCache(tmp_path / "begun.sqlite", _facts(_teacher())) as cache:
        cache.add("video", [3], torch.ones(1, 6))
        assert cache.get("video") is not None


def test_one_process_sees_what_another_has_written(cache: TeacherCache) -> None:
    with TeacherCache(cache.path, cache.facts) as other:
        cache.add("video", [3, 9], torch.arange(12.0).view(2, 6))
        video = other.get("video")
    assert video is not None
    assert video.starts == (3, 9)
    assert torch.equal(video.features, torch.arange(12.0).view(2, 6))


def test_names_that_are_no_text_have_an_identity(tmp_path: Path, cache: TeacherCache) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system takes no such names")
    identity = identity_of(Sample(name="cafe", path=path, label=-1, group="cafe"))
    cache.add(identity, [0], torch.ones(1, 6))
    assert cache.get(identity) is not None
