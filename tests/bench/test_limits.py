import pytest
import torch

from t3d.bench import limits
from t3d.bench.limits import Limits, best_of, measure_limits


def test_the_better_of_product_and_convolution_is_the_limit() -> None:
    found = Limits(product={"float32": 2.0, "bf16": 3.0}, convolution={"float32": 1.0, "bf16": 4.0})
    assert (found.rate("float32"), found.rate("bf16")) == (2.0, 4.0)


def test_the_best_of_several_measurements_counts() -> None:
    early = Limits(product={"float32": 2.0, "bf16": 3.0}, convolution={"float32": 1.0, "bf16": 4.0})
    late = Limits(product={"float32": 1.0, "bf16": 5.0}, convolution={"float32": 3.0, "bf16": 2.0})
    assert best_of([early, late]) == Limits(
        product={"float32": 2.0, "bf16": 5.0}, convolution={"float32": 3.0, "bf16": 4.0}
    )


def test_everything_is_measured_and_the_threads_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MATRICES", (8,))
    monkeypatch.setattr(limits, "_MAPS", ((4, 2, 4),))
    found = measure_limits(threads=2)
    rates = [*found.product.values(), *found.convolution.values()]
    assert len(rates) == 4
    assert min(rates) > 0
    assert torch.get_num_threads() == 1


def test_the_fastest_size_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"slow": 2.0, "fast": 1.0}
    monkeypatch.setattr(limits, "_fastest", lambda step, repeats, device: seconds[step()])
    tasks = [(10.0, lambda: "slow"), (8.0, lambda: "fast")]
    assert limits._best(iter(tasks), 1, "cpu") == 8.0
