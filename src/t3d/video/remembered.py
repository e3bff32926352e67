"""What was found out about files, for as long as there is room. What that is, and what it weighs, the caller knows."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """Values by key, up to so many bytes of all together; those that were not asked for longest go first.

    Args:
        most_bytes: The newest value is kept whatever it weighs.
    """

    def __init__(self, *, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._held: dict[Hashable, tuple[Value, int]] = {}
        self._num_bytes = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def __getitem__(self, key: Hashable) -> Value:
        self._held[key] = self._held.pop(key)  # last in its order
        return self._held[key][0]

    def keep(self, key: Hashable, value: Value, *, num_bytes: int) -> None:
        """Remember a value that is not known yet, and forget others where there is no room."""
        self._held[key] = value, num_bytes
        self._num_bytes += num_bytes
        while self._num_bytes > self.most_bytes and len(self._held) > 1:
            oldest = next(iter(self._held))
            self._num_bytes -= self._held.pop(oldest)[1]

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self._num_bytes = 0
