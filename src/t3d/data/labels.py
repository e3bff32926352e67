"""Class names: order, numbers, and files that list them."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from t3d.errors import DataError


def sorted_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names, sorted by value if all are whole numbers, else alphabetically."""
    distinct = set(names)
    numbers = all(name.removeprefix("-").isdecimal() for name in distinct)
    return tuple(sorted(distinct, key=lambda name: (int(name), name)) if numbers else sorted(distinct))


def number_labels(labels: Iterable[str], known: tuple[str, ...], *, where: str) -> list[int]:
    """Indices of labels in the list of classes.

    Args:
        labels: One name a video.
        known: The classes of the training videos.
        where: The list, for error messages.

    Raises:
        DataError: A label is unknown.
    """
    numbers = {name: number for number, name in enumerate(known)}
    wanted = list(labels)
    unknown = sorted(set(wanted) - set(numbers))
    if unknown:
        raise DataError(
            f"{where}: class {unknown[0]!r} has no training video ({len(unknown)} such of {len(known)} known classes); "
            "correct the name or add training videos"
        )
    return [numbers[label] for label in wanted]


def read_label_file(path: Path) -> tuple[str, ...]:
    """Read class names: lines of text, a CSV of numbers and names, or JSON.

    JSON is a list of names, or an object from names to numbers or from numbers to names. Numbers start at 0 or 1.

    Raises:
        DataError: The file cannot be read, or does not name every class exactly once.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            labels = _from_json(json.loads(text))
        elif path.suffix == ".csv":
            labels = _from_rows(csv.reader(text.splitlines()))
        else:
            labels = tuple(line.strip() for line in text.splitlines() if line.strip())
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:200]
        raise DataError(f"{path}: no list of class names ({reason})") from error
    twice = next((label for index, label in enumerate(labels) if label in labels[:index]), None)
    if twice is not None:
        raise DataError(f"{path}: names the class {twice!r} twice; make the names distinct")
    return labels


def _from_json(content: object) -> tuple[str, ...]:
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return tuple(content)
    if isinstance(content, dict) and all(isinstance(value, str | int) for value in content.values()):
        return _in_order((key, str(value)) for key, value in content.items())
    raise ValueError("JSON, but neither a list of names nor an object of names and numbers")


def _from_rows(rows: Iterable[list[str]]) -> tuple[str, ...]:
    pairs = [(row[0].strip(), row[1].strip()) for row in rows if len(row) > 1]
    if pairs and not any(cell.isdecimal() for cell in pairs[0]):
        pairs = pairs[1:]  # the header
    return _in_order(pairs)


def _in_order(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Names sorted by number; either column may hold the numbers."""
    entries = list(pairs)
    if not all(number.isdecimal() for number, _ in entries):
        entries = [(number, name) for name, number in entries]
    if not entries or not all(number.isdecimal() for number, _ in entries):
        raise ValueError("neither of two columns holds whole numbers only")
    entries.sort(key=lambda entry: int(entry[0]))
    numbers = [int(number) for number, _ in entries]
    if numbers[0] > 1 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError("the numbers do not count on from 0 or 1 without a gap")
    return tuple(name for _, name in entries)
