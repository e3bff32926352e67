from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from t3d.data.lists import read_csv, read_header, read_lines, read_parquet
from t3d.errors import DataError

Write = Callable[..., Path]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_line_endings_and_byte_order_marks_do_not_matter(write: Write, newline: str, encoding: str) -> None:
    path = write("list.txt", newline.join(["one ", "", "two", ""]), encoding=encoding)
    assert read_lines(path) == [(f"{path}:1", "one"), (f"{path}:3", "two")]
    table = write("list.csv", newline.join(["Path,label", "a.mp4 ,x", "", '"b,c.mp4",ü']), encoding=encoding)
    assert read_header(table) == ["path", "label"]
    rows = read_csv(table, required=("path", "label"))
    assert [row.values for row in rows] == [{"path": "a.mp4", "label": "x"}, {"path": "b,c.mp4", "label": "ü"}]
    assert [row.where for row in rows] == [f"{table}:2", f"{table}:4"]


def test_absent_cells_are_empty(write: Write) -> None:
    path = write("list.csv", "path,label,group\na.mp4,x\n")
    assert read_csv(path, required=("path",))[0].values["group"] == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty; expected a first line"),
        ("path,label\n", "only a header; add one row a video"),
        ("path;label\na;b\n", "separated by semicolons: save it with commas"),
        ("path\tlabel\na\tb\n", "separated by tabs: save it with commas"),
        ("file,label\na,b\n", "no column 'path' among file, label"),
        ("path,label,path\na,b,c\n", "column 'path' appears twice"),
        ("path,label\na.mp4,walk, slowly\n", "list.csv:2: 3 cells for 2 columns; quote text that contains a comma"),
        ('path,label\n"a.mp4,x\n', "not readable as CSV"),
    ],
)
def test_malformed_tables_are_refused_in_one_line(write: Write, text: str, message: str) -> None:
    path = write("list.csv", text)
    with pytest.raises(DataError, match=message) as caught:
        read_csv(path, required=("path", "label"))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text_are_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not UTF-8 text"):
        read_lines(write("list.txt", "Grün", encoding="latin-1"))
    with pytest.raises(DataError, match="no such file"):
        read_lines(tmp_path / "absent.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_lines(tmp_path)


def test_parquet_gives_the_same_rows_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    table = pyarrow.table(
        {"Path": ["a.mp4", "b.mp4"], "label": [3, 10], "start": [0.5, None], "end": [1.5, float("nan")]}
    )
    pyarrow.parquet.write_table(table, path)
    rows = read_parquet(path, required=("path", "label"))
    assert [list(row.values.values()) for row in rows] == [["a.mp4", "3", "0.5", "1.5"], ["b.mp4", "10", "", ""]]
    assert rows[1].where == f"{path}, row 2"


def test_malformed_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    path.write_bytes(b"path,label\n")
    with pytest.raises(DataError, match=r"list\.parquet: not readable as Parquet") as caught:
        read_parquet(path, required=("path",))
    assert "\n" not in str(caught.value)
    pyarrow.parquet.write_table(pyarrow.table({"path": pyarrow.array([], pyarrow.string())}), path)
    with pytest.raises(DataError, match="no rows"):
        read_parquet(path, required=("path",))
    with pytest.raises(DataError, match="no column 'label'"):
        read_parquet(path, required=("label",))
