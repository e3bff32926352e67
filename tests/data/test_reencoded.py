import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from t3d.data.reencoded import DESCRIPTION, Entry, Originals, note_begun, note_done, read_manifest, write_manifest


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """Of a file of three bytes, made of one of two."""
    (tmp_path / "a.mp4").write_bytes(b"abc")
    source = tmp_path / "source.mp4"
    source.write_bytes(b"ab")
    os.utime(source, ns=(7, 7))
    return Entry(
        path="a.mp4", num_bytes=3, num_frames=1, source=str(source), source_bytes=2, source_modified_ns=7, crf=23
    )


def test_the_last_line_of_a_file_counts(entry: Entry, tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}
    write_manifest(tmp_path, [entry])
    note_begun(tmp_path, "b.mp4")
    assert read_manifest(tmp_path) == {"a.mp4": entry, "b.mp4": None}
    note_begun(tmp_path, "a.mp4")
    assert read_manifest(tmp_path) == {"a.mp4": None, "b.mp4": None}


def test_a_file_holds_while_it_and_its_original_are_what_they_were(entry: Entry, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    assert entry.still_holds(tmp_path, source)
    assert not replace(entry, num_bytes=4).still_holds(tmp_path, source)
    assert not replace(entry, source_modified_ns=8).still_holds(tmp_path, source)
    assert not entry.still_holds(tmp_path, tmp_path / "a.mp4")  # another original
    assert not entry.still_holds(tmp_path / "elsewhere", source)
    source.unlink()
    assert not entry.still_holds(tmp_path, source)


def _entry(path: str, source: Path) -> Entry:
    return Entry(path=path, num_bytes=1, num_frames=1, source=str(source), source_bytes=1, source_modified_ns=1, crf=23)


def _prepared(folder: Path, source: Path, *names: str) -> Path:
    """A folder that says it was prepared from another; there are no videos."""
    folder.mkdir()
    (folder / DESCRIPTION).write_text(json.dumps({"settings": {"source": str(source)}}))
    for name in names:
        note_done(folder, _entry(name, source / name))
    return folder


def test_prepared_files_are_followed_to_the_first_original(tmp_path: Path) -> None:
    data = tmp_path / "data"
    small = _prepared(tmp_path / "small", _prepared(tmp_path / "large", data, "a/b.mp4"), "a/b.mp4")
    originals = Originals()
    assert originals.of(small / "a" / "b.mp4") == data / "a" / "b.mp4"
    assert originals.of_dataset(small) == data
    for other in (data / "a" / "b.mp4", small / "a" / "unknown.mp4", tmp_path / "nowhere" / "x.mp4"):
        assert originals.of(other) == other
    assert originals.of_dataset(data) == data


def test_a_dataset_that_is_a_list_is_the_folder_of_it(tmp_path: Path) -> None:
    table = tmp_path / "data" / "list.csv"
    table.parent.mkdir()
    table.touch()
    assert Originals().of_dataset(_prepared(tmp_path / "copy", table)) == tmp_path / "data"


def test_folders_prepared_from_each_other_come_to_an_end(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    _prepared(one, other, "a.mp4")
    _prepared(other, one, "a.mp4")
    assert Originals().of(one / "a.mp4") == other / "a.mp4"


def test_other_programs_files_of_that_name_say_nothing(tmp_path: Path) -> None:
    for text in ("[1]", '{"settings": "none"}', "no JSON"):
        (tmp_path / DESCRIPTION).write_text(text)
        assert Originals().of(tmp_path / "a.mp4") == tmp_path / "a.mp4"
        assert Originals().of_dataset(tmp_path) == tmp_path
