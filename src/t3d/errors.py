"""The errors a user can cause, each one line that names the file or value and the remedy.

Nothing here prints or exits: `t3d.cli` turns a `T3DError` into one line and an exit code.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class T3DError(Exception):
    """Something the user can fix; the message is one line."""


class ConfigError(T3DError):
    """A flag or argument does not make sense, alone or with the others."""


class DataError(T3DError):
    """A list, folder or split of videos is missing, malformed or would give a dishonest number."""


class DecodeError(T3DError):
    """A video cannot be opened or decoded; the message starts with its path."""


class CheckpointError(T3DError):
    """A run or weights file is missing, damaged, or belongs to another network."""


class WorkerError(T3DError):
    """A process that this one had started ended early, such as for want of memory; what was done is kept."""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Say that there is nothing of this name, which known name comes nearest, and which there are."""
    names = list(known)
    nearest = get_close_matches(name, names, n=1)
    hint = f" (perhaps {nearest[0]!r}?)" if nearest else ""
    return f"unknown {what} {name!r}{hint}; choose from {', '.join(names)}"
