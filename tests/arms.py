"""Arms without processes and without clocks: every step is really made, once, and takes as long as it is told to."""

from collections.abc import Iterable, Sequence

from t3d.bench.limits import Limits
from t3d.bench.rounds import Arm, Measured

LIMITS = Limits(product={"float32": 1e9, "bf16": 4e9}, convolution={"float32": 2e9, "bf16": 3e9})


class Instant:
    """Stands for `measure`; the n-th arm of a call takes n seconds and n megabytes."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(
        self, arms: Sequence[Arm], *, rounds: int, threads: int, shortest_seconds: float = 0.0
    ) -> list[Measured]:
        self.calls.append([arm.name for arm in arms])
        for arm in arms:
            arm.build(**arm.arguments)()
        return list(_measured(self.calls[-1], rounds))


def _measured(names: Iterable[str], rounds: int) -> Iterable[Measured]:
    for number, name in enumerate(names, start=1):
        yield Measured(name=name, seconds=(float(number),) * rounds, peak_bytes=number * 1_000_000)
