"""A dataset format of one's own is one file with `recognise` and `read`, and one row of the table."""

from pathlib import Path

import pytest

from program import Call, write_dataset
from t3d.data.formats import FORMATS, Format, load_videos, recognise
from t3d.data.mirror import mirror_dataset
from t3d.data.samples import NoSuchSubsetError, Sample, Subset, VideoList
from t3d.errors import DataError

LIST = "clips.toy"


def recognise_toy(root: Path) -> bool:
    """Whether the folder holds a list of this format."""
    return (root / LIST).is_file()


def read_toy(root: Path, subset: Subset, *, split: int) -> VideoList:
    """Videos of one subset, from lines `subset label path`; there is one split."""
    if split != 1:
        raise DataError(f"{root}: no split {split}; this format has one, number 1")
    rows = [line.split() for line in (root / LIST).read_text().splitlines()]
    if subset not in {part for part, _, _ in rows}:
        raise NoSuchSubsetError(f"{root}: no {subset} videos in {LIST}")
    labels = tuple(sorted({label for _, label, _ in rows}))
    samples = tuple(
        Sample(name=path, path=root / path, label=labels.index(label), group=path)
        for part, label, path in rows
        if part == subset
    )
    return VideoList(samples=samples, labels=labels, root=root, format="toy", split=f"{subset} ({LIST})")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of the format, and the format's row."""
    row = Format(
        recognised_by=f"`{LIST}`",
        splits="first word of a line",
        groups="one a video",
        recognise=recognise_toy,
        read=read_toy,
        list_files=lambda root: {LIST: root / LIST},
    )
    loosest = FORMATS["folder"]  # takes any folder of folders, so it stays the last
    monkeypatch.delitem(FORMATS, "folder")
    monkeypatch.setitem(FORMATS, "toy", row)
    monkeypatch.setitem(FORMATS, "folder", loosest)
    table = write_dataset(tmp_path)
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    table.unlink()
    (tmp_path / LIST).write_text("".join(f"{split} {label} {path}\n" for path, label, split, _ in rows))
    return tmp_path


def test_a_new_format_is_read_shown_and_copied(toy: Path, t3d: Call) -> None:
    assert recognise(toy) == "toy"
    assert [len(load_videos(toy, subset=subset).samples) for subset in ("train", "test")] == [8, 5]
    shown = t3d("data", toy)
    assert (shown.code, shown.err) == (0, "")
    assert f"toy: train ({LIST})" in shown.out
    copy = mirror_dataset(toy)
    assert copy.lists == {LIST: toy / LIST}
    assert len(copy.pieces) == 13


def test_errors_name_the_new_format(toy: Path) -> None:
    with pytest.raises(DataError, match=rf"known forms are: csv .*toy \({LIST}\)"):
        recognise(toy / "clips")
    with pytest.raises(DataError, match=r"choose from csv, .*, toy"):
        load_videos(toy, subset="test", format="toys")
