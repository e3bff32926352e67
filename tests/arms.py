"""Arms without processes and without clocks: every step is really made, once, and takes as long as it is told to."""

from collections.abc import Sequence

from t3d.bench.limits import Limits
from t3d.bench.rounds import Arm, Measured
from t3d.errors import ConfigError

LIMITS = Limits(product={"float32": 1e9, "bf16": 4e9}, convolution={"float32": 2e9, "bf16": 3e9})


class Instant:
    """Stands for `measure`; the n-th arm of a call takes n seconds and n megabytes."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(
        self, arms: Sequence[Arm], *, rounds: int, threads: int, shortest_seconds: float = 0.0
    ) -> list[Measured]:
        self.calls.append([arm.name for arm in arms])
        return [_measured(arm, number, rounds) for number, arm in enumerate(arms, start=1)]


def _measured(arm: Arm, number: int, rounds: int) -> Measured:
    try:
        arm.build(**arm.arguments)()
    except ConfigError as error:  # such as a library that is not installed: a row like any other
        return Measured(name=arm.name, error=str(error))
    return Measured(name=arm.name, seconds=(float(number),) * rounds, peak_bytes=number * 1_000_000)
