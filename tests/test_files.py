import os
from pathlib import Path

import pytest

from t3d.files import complete, write_csv, write_text


def test_text_replaces_text_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "ü\n")
    write_text(path, "b\n")
    assert path.read_text(encoding="utf-8") == "b\n"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_rows_that_do_not_fit_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_csv(path, [{"x": 0.1, "y": "a,b"}, {"x": 1, "y": None}])
    assert path.read_text() == 'x,y\n0.1,"a,b"\n1,\n'
    with pytest.raises(ValueError, match="z"):
        write_csv(path, [{"x": 1, "y": 2}, {"z": 3}])
    assert path.read_text().startswith("x,y\n0.1")


def _fail_in_the_middle(path: Path) -> None:
    with complete(path) as unfinished:
        unfinished.write_bytes(b"ne")
        raise OSError("disk full")


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="full"):
        _fail_in_the_middle(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_names_of_arbitrary_bytes_are_spelt_out(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", b"\xff.mp4".decode("utf-8", "surrogateescape"))
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "\\udcff.mp4"


def test_processes_that_share_a_file_write_under_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with complete(path) as alone, complete(path, shared=True) as shared:
        assert alone != shared
        assert str(os.getpid()) in shared.name
        alone.write_bytes(b"one")
        shared.write_bytes(b"two")
    assert path.read_bytes() == b"one"  # whose block ended last
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has permissions of this kind")
def test_files_are_as_open_to_others_as_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with complete(tmp_path / "a") as unfinished:
            unfinished.touch(mode=0o600)
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
