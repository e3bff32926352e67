"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, right_aligned_from: int | None = None
) -> str:
    """Format a table, one line per row, without a trailing line break.

    Args:
        head: Names of the columns.
        rows: The same number of cells each; None is empty, and bars are escaped.
        right_aligned_from: Index from which on columns are right-aligned; by default none.
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
