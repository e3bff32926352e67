import pytest

from t3d.markdown import markdown_table


def test_a_table_has_a_line_of_marks_and_a_line_a_row() -> None:
    assert markdown_table(["name", "count"], [("a", 1), ("b", None)], right_aligned_from=1).splitlines() == [
        "| name | count |",
        "| --- | ---: |",
        "| a | 1 |",
        "| b |  |",
    ]
    assert markdown_table(["x", ""], []) == "| x |  |\n| --- | --- |"


def test_bars_in_cells_make_no_columns() -> None:
    assert markdown_table(["x"], [("a|b",)]).splitlines()[-1] == "| a\\|b |"


def test_a_row_has_as_many_cells_as_the_head() -> None:
    with pytest.raises(AssertionError):
        markdown_table(["x", "y"], [("a",)])
