"""Describe the machine: processor, memory, versions, and measured best rates."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F

from t3d.system import cpu_bf16_supported

Precision = Literal["float32", "bf16"]

_RELEASES = (
    *("t3d", "torch", "av", "openvino", "nncf", "onnxruntime", "onnx"),
    *("torchcodec", "decord", "opencv-python-headless"),
)
_MATRICES = (1024, 2048)
"""Edges of square matrices."""
_MAPS = ((128, 8, 28), (256, 4, 28), (512, 4, 14))
"""Channels, frames and edge of feature maps, with as many channels out."""
_KERNEL = 3
_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16}


def describe_machine(*, threads: int, device: str = "cpu") -> dict[str, Any]:
    """Facts to state with every measurement, in display order."""
    facts = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_bytes": _memory_bytes(),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": _load(),
        "device": device,
        "python": platform.python_version(),
    }
    if device != "cpu":
        facts |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return facts | {name: release for name in _RELEASES if (release := _release(name))}


def bf16_missing(device: str) -> str:
    """Reason why bf16 is not measured on a device; empty if it has units for it."""
    if torch.device(device).type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        supported = cpu_bf16_supported()
    return "" if supported else f"skipped: this {'GPU' if device == 'cuda' else 'processor'} has no bf16 units"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Best rates by precision; each is the fastest of several sizes, memory formats and repetitions."""

    product: dict[Precision, float]
    """Operations per second of a matrix product, two per multiply-add."""
    convolution: dict[Precision, float]
    """Operations per second of a 3 x 3 x 3 convolution."""

    def rate(self, precision: str) -> float | None:
        """The better of product and convolution; None for a precision that was not measured."""
        return max(
            (rates[name] for rates in (self.product, self.convolution) for name in rates if name == precision),
            default=None,
        )


def best_of(found: Sequence[Limits]) -> Limits:
    """The best of several measurements, because the load of a machine varies."""

    def best(rates: Sequence[dict[Precision, float]]) -> dict[Precision, float]:
        return {name: max(one[name] for one in rates) for name in rates[0]}

    return Limits(product=best([one.product for one in found]), convolution=best([one.convolution for one in found]))


@torch.inference_mode()
def measure_limits(*, threads: int, device: str = "cpu", repeats: int = 3) -> Limits:
    """Measure in this process; bf16 only if the device has units for it.

    Args:
        threads: CPU threads of PyTorch.
        device: Device.
        repeats: Timed runs of each size, after one warm-up.
    """
    dtypes = {name: dtype for name, dtype in _DTYPES.items() if name != "bf16" or not bf16_missing(device)}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return Limits(
            product={name: _best(_products(dtype, device), repeats, device) for name, dtype in dtypes.items()},
            convolution={name: _best(_convolutions(dtype, device), repeats, device) for name, dtype in dtypes.items()},
        )
    finally:
        torch.set_num_threads(before)


Task = tuple[float, Callable[[], object]]
"""Operations of a step, and the step."""


def _best(tasks: Iterator[Task], repeats: int, device: str) -> float:
    return max(operations / _fastest(step, repeats, device) for operations, step in tasks)


def _fastest(step: Callable[[], object], repeats: int, device: str) -> float:
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def _products(dtype: torch.dtype, device: str) -> Iterator[Task]:
    for edge in _MATRICES:
        left, right = (torch.rand(edge, edge, dtype=dtype, device=device) for _ in range(2))
        yield 2.0 * edge**3, partial(torch.mm, left, right)


def _convolutions(dtype: torch.dtype, device: str) -> Iterator[Task]:
    for channels, frames, edge in _MAPS:
        clips = torch.rand(2, channels, frames, edge, edge, dtype=dtype, device=device)
        weight = torch.rand(channels, channels, *[_KERNEL] * 3, dtype=dtype, device=device)
        flops = 2.0 * clips.numel() * channels * _KERNEL**3
        for form in (torch.contiguous_format, torch.channels_last_3d):
            shaped, kernel = clips.contiguous(memory_format=form), weight.contiguous(memory_format=form)
            yield flops, partial(F.conv3d, shaped, kernel, padding=_KERNEL // 2)


def _release(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _load() -> float | None:
    """Load average of the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
