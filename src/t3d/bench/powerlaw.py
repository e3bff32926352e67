"""How something grows: a power law fitted by least squares to the logarithms."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """`factor * size ** exponent`."""

    exponent: float
    error: float
    """Standard error of the exponent."""
    factor: float

    def __call__(self, size: int | float) -> float:
        """What the law says of a size."""
        return float(self.factor * size**self.exponent)

    def __str__(self) -> str:
        return f"{self.exponent:.2f} ± {self.error:.2f}"


def fit_power_law(sizes: Sequence[int | float], values: Sequence[int | float]) -> PowerLaw | None:
    """Fit a law to positive sizes and values; None where there are fewer than three, which leave no error."""
    if len(sizes) < 3:
        return None
    across, up = (list(map(math.log, numbers)) for numbers in (sizes, values))
    exponent, offset = statistics.linear_regression(across, up)
    rest = sum((y - offset - exponent * x) ** 2 for x, y in zip(across, up, strict=True))
    mean = statistics.fmean(across)
    width = sum((x - mean) ** 2 for x in across)
    return PowerLaw(exponent=exponent, error=math.sqrt(rest / (len(sizes) - 2) / width), factor=math.exp(offset))
