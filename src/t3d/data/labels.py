"""The order of class names and the numbers they get; the same for every part of a split."""

from collections.abc import Iterable

from t3d.errors import DataError


def sorted_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names, by value if all are whole numbers, else by alphabet."""
    distinct = set(names)
    numbers = all(name.removeprefix("-").isdecimal() for name in distinct)
    return tuple(sorted(distinct, key=lambda name: (int(name), name)) if numbers else sorted(distinct))


def number_labels(labels: Iterable[str], known: tuple[str, ...], *, where: str) -> list[int]:
    """Positions of labels among the known ones.

    Args:
        labels: One name a video.
        known: The classes that training videos show.
        where: What to name in the message.

    Raises:
        DataError: A label is none of the known ones.
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
