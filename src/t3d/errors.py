"""Errors that a user can cause; the message is one line with the file or value and the remedy.

`t3d.cli` turns a `T3DError` into one line on stderr and an exit code.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class T3DError(Exception):
    """Base of errors that the user can fix; the message is one line."""


class ConfigError(T3DError):
    """A flag or argument is invalid, alone or in combination."""


class DataError(T3DError):
    """A list, folder or split of videos is missing, malformed, or would give a biased result."""


class DecodeError(T3DError):
    """A video cannot be opened or decoded; the message starts with its path."""


class CheckpointError(T3DError):
    """A run or weights file is missing, damaged, or belongs to another network."""


class WorkerError(T3DError):
    """A child process ended early, for example for lack of memory; finished work is kept."""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Message for an unknown name, with the closest known name and all choices."""
    names = list(known)
    nearest = get_close_matches(name, names, n=1)
    hint = f" (perhaps {nearest[0]!r}?)" if nearest else ""
    return f"unknown {what} {name!r}{hint}; choose from {', '.join(names)}"
