"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, right_aligned_from: int | None = None
) -> str:
    """Write a table, one line a row, without a line break at its end.

    Args:
        head: Names of the columns.
        rows: As many cells each; None is left empty, and a bar in a cell is escaped.
        right_aligned_from: First of the columns of numbers, which reach to the last; left out, there are none.
    """
    first = len(head) if right_aligned_from is None else right_aligned_from
    marks = ["---" if index < first else "---:" for index in range(len(head))]
    lines = [_line(map(_cell, head)), _line(marks)]
    for row in rows:
        assert len(row) == len(head), row
        lines.append(_line(map(_cell, row)))
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("|", "\\|")
