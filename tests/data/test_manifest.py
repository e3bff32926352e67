import os
from dataclasses import replace
from pathlib import Path

import pytest

from t3d.data.reencoded import Entry, note_begun, read_manifest, write_manifest


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
