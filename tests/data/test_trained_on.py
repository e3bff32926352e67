import json
from dataclasses import replace
from pathlib import Path

import pytest

from t3d.data.reencoded import DESCRIPTION, Entry, note_done
from t3d.data.samples import UNLABELLED, Sample, VideoList
from t3d.data.trained_on import LIST_NAME, check_held_out, check_same_videos, overlap_warning, write_trained_on
from t3d.errors import ConfigError, DataError


def _videos(root: Path, *names: str) -> VideoList:
    """The letter before the dash is the group."""
    root.mkdir(exist_ok=True)
    samples = [Sample(name=name, path=root / name, label=0, group=name.partition("-")[0]) for name in names]
    return VideoList(samples=tuple(samples), labels=("x",), root=root, format="folder", split="")


def test_resuming_wants_the_same_videos(tmp_path: Path) -> None:
    videos = _videos(tmp_path / "data", "a-1", "b-1")
    check_same_videos(tmp_path, videos)  # a run of an older release: nothing is known
    write_trained_on(tmp_path, videos)
    check_same_videos(tmp_path, videos)
    with pytest.raises(ConfigError, match="2 training videos, now there are 1"):
        check_same_videos(tmp_path, replace(videos, samples=videos.samples[:1]))
    with pytest.raises(ConfigError, match="other ones"):
        check_same_videos(tmp_path, _videos(tmp_path / "data", "b-1", "a-1"))  # another order is other clips


def test_tested_videos_that_were_trained_on_are_counted(tmp_path: Path) -> None:
    write_trained_on(tmp_path, _videos(tmp_path / "data", "a-1", "b-1"))
    assert overlap_warning(tmp_path, _videos(tmp_path / "data", "c-1", "d-1")) == ""
    text = overlap_warning(tmp_path, _videos(tmp_path / "data", "c-1", "a-2", "b-1"))
    assert text.startswith("2 of 3 videos")
    assert "first a-2" in text


@pytest.mark.parametrize("name", ["b-1", "b-2"])
def test_held_out_videos_and_their_groups_were_not_trained_on(name: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    check_held_out(tmp_path, _videos(data, name))  # weights without a list: nothing is known
    write_trained_on(tmp_path, _videos(data, "a-1", "b-1"))
    check_held_out(tmp_path, _videos(data, "c-1", "d-1"))
    with pytest.raises(DataError, match=f"{name} would be a validation video today"):
        check_held_out(tmp_path, _videos(data, "c-1", name))


def test_equal_group_names_of_another_dataset_are_no_overlap(tmp_path: Path) -> None:
    write_trained_on(tmp_path, _videos(tmp_path / "data", "a-1"))
    assert overlap_warning(tmp_path, _videos(tmp_path / "other", "a-1")) == ""
    assert overlap_warning(tmp_path / "nowhere", _videos(tmp_path / "data", "a-1")) == ""


@pytest.mark.parametrize("trained", ["data", "copy"])
def test_prepared_videos_are_known_as_their_originals(trained: str, tmp_path: Path) -> None:
    data = _videos(tmp_path / "data", "a-1", "b-1", "a-2", "c-1")
    copy = _videos(tmp_path / "copy", "a-1", "b-1", "a-2", "c-1")
    (copy.root / DESCRIPTION).write_text(json.dumps({"settings": {"source": str(data.root)}}))
    for sample in data.samples:
        entry = Entry(
            path=sample.name,
            num_bytes=1,
            num_frames=1,
            source=str(sample.path),
            source_bytes=1,
            source_modified_ns=1,
            crf=23,
        )
        note_done(copy.root, entry)
    ours, theirs = (data, copy) if trained == "data" else (copy, data)
    write_trained_on(tmp_path, replace(ours, samples=ours.samples[:2]))
    assert overlap_warning(tmp_path, theirs).startswith("3 of 4 videos")  # a-2 by its group
    check_held_out(tmp_path, replace(theirs, samples=theirs.samples[3:]))
    with pytest.raises(DataError, match="a-2 would be a validation video"):
        check_held_out(tmp_path, replace(theirs, samples=theirs.samples[2:]))


def test_videos_without_labels_have_rows_without_labels(tmp_path: Path) -> None:
    videos = _videos(tmp_path / "data", "a-1", "b-1")
    unlabelled = replace(videos, samples=tuple(replace(s, label=UNLABELLED) for s in videos.samples), labels=())
    write_trained_on(tmp_path, unlabelled)
    folder = (tmp_path / "data").resolve()
    lines = ["path,label,group", f"{folder}/a-1,,a", f"{folder}/b-1,,b"]
    assert (tmp_path / LIST_NAME).read_text().splitlines() == lines
    check_same_videos(tmp_path, unlabelled)
    with pytest.raises(ConfigError, match="other ones"):
        check_same_videos(tmp_path, videos)  # now with labels
    assert overlap_warning(tmp_path, videos).startswith("2 of 2 videos")
