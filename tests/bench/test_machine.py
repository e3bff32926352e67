import os
import platform
from pathlib import Path

import pytest
import torch

from t3d import system
from t3d.bench import machine
from t3d.bench.machine import Limits, best_of, bf16_missing, describe_machine, measure_limits


def test_machine_and_releases_are_named() -> None:
    facts = describe_machine(threads=3)
    assert facts["threads"] == 3
    assert facts["cores"] == os.cpu_count()
    assert facts["torch"] == torch.__version__
    assert facts["python"] == platform.python_version()
    assert facts["processor"]
    assert "gpu" not in facts


@pytest.mark.parametrize(
    ("flags", "supported"),
    [
        ("flags : fpu avx2 avx512f avx512bw avx512_vnni", False),
        ("flags : fpu avx512f avx512_bf16", True),
        ("flags : fpu avx512f amx_bf16 amx_tile", True),
        ("Features : fp asimd bf16 i8mm", True),
    ],
)
def test_the_processor_is_asked_for_bf16(
    flags: str, supported: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(system, "Path", lambda name: cpuinfo)
    assert system.cpu_bf16_supported() is supported
    assert bool(bf16_missing("cpu")) is not supported


@pytest.mark.parametrize("supported", [False, True])
def test_limits_are_measured_in_what_the_processor_computes(supported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MATRICES", (8,))
    monkeypatch.setattr(machine, "_MAPS", ((4, 2, 4),))
    monkeypatch.setattr(machine, "cpu_bf16_supported", lambda: supported)
    found = measure_limits(threads=2)
    assert list(found.product) == list(found.convolution) == ["float32", "bf16"][: 1 + supported]
    assert min(*found.product.values(), *found.convolution.values()) > 0
    assert torch.get_num_threads() == 1  # as before


def test_the_best_of_product_and_convolution_and_of_several_measurements_counts() -> None:
    early = Limits(product={"float32": 2.0, "bf16": 3.0}, convolution={"float32": 1.0, "bf16": 4.0})
    late = Limits(product={"float32": 1.0, "bf16": 5.0}, convolution={"float32": 3.0, "bf16": 2.0})
    best = best_of([early, late])
    assert best == Limits(product={"float32": 2.0, "bf16": 5.0}, convolution={"float32": 3.0, "bf16": 4.0})
    assert [best.rate(precision) for precision in ("float32", "bf16", "int8")] == [3.0, 5.0, None]
