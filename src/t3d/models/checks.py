"""Checks that the literals of all families share: what makes no sense is refused by name."""

from t3d.errors import ConfigError


def at_least_one(spec: object, *names: str) -> None:
    """Refuse counts and sizes below 1, single or in tuples.

    Raises:
        ConfigError: The first one that is.
    """
    for name in names:
        if min(_integers(spec, name), default=0) < 1:
            raise ConfigError(f"{name} {getattr(spec, name)} must be at least 1")


def odd(spec: object, *names: str) -> None:
    """Refuse kernels that are even or below 1.

    Raises:
        ConfigError: The first one that is.
    """
    at_least_one(spec, *names)
    for name in names:
        if any(size % 2 == 0 for size in _integers(spec, name)):
            raise ConfigError(f"{name} {getattr(spec, name)} must be odd")


def check_depths(ttl_depths: tuple[tuple[int, ...] | None, ...], num_blocks: int) -> None:
    """Refuse temporal depths that do not suit the stages.

    Raises:
        ConfigError: There are not as many entries as places between stages, or a depth is below 1.
    """
    if len(ttl_depths) != num_blocks - 1:
        raise ConfigError(
            f"ttl_depths {ttl_depths} must have {num_blocks - 1} entries, one after each of the {num_blocks} stages "
            "but the last"
        )
    if any(depths is not None and min(depths, default=0) < 1 for depths in ttl_depths):
        raise ConfigError(f"ttl_depths {ttl_depths} must name depths of at least 1, or None")


def check_ranges(neck: int, dropout: float) -> None:
    """Refuse a negative width and a probability that leaves nothing.

    Raises:
        ConfigError: One of them is out of range.
    """
    if neck < 0:
        raise ConfigError(f"neck {neck} must be at least 0")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout {dropout} must be at least 0 and below 1")


def _integers(spec: object, name: str) -> tuple[int, ...]:
    value = getattr(spec, name)
    return value if isinstance(value, tuple) else (value,)
