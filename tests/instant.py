"""Measurements without processes and clocks: every step is made once, and takes as long as it is told to."""

from collections.abc import Callable, Sequence

from t3d.bench.machine import Limits
from t3d.bench.rounds import Measured, Variant
from t3d.errors import ConfigError

LIMITS = Limits(product={"float32": 1e9, "bf16": 4e9}, convolution={"float32": 2e9, "bf16": 3e9})


class Instant:
    """Stands for `measure`; the n-th variant of a call takes n seconds and n megabytes.

    Attributes:
        calls: Names of the variants of each call.
        run: Whether steps are built and made; otherwise they are only listed.
    """

    def __init__(self, *, run: bool = True) -> None:
        self.calls: list[list[str]] = []
        self.run = run

    def __call__(
        self,
        variants: Sequence[Variant],
        *,
        rounds: int,
        threads: int,
        shortest_seconds: float = 0.0,
        on_ready: Callable[[float, float], None] | None = None,
    ) -> list[Measured]:
        self.calls.append([variant.name for variant in variants])
        if on_ready is not None:
            on_ready(1.0, 2.0)
        return [self._measured(variant, number, rounds) for number, variant in enumerate(variants, start=1)]

    def _measured(self, variant: Variant, number: int, rounds: int) -> Measured:
        if variant.skip:
            return Measured(name=variant.name, error=variant.skip)
        try:
            if self.run:
                variant.build(**variant.arguments)()
        except ConfigError as error:  # such as a library that is not installed: a row like any other
            return Measured(name=variant.name, error=str(error))
        return Measured(name=variant.name, seconds=(float(number),) * rounds, peak_bytes=number * 1_000_000)
