"""What this machine is, and which releases are installed. What it can do is `t3d.bench.limits`'s business."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_RELEASES = (
    *("t3d", "torch", "av", "openvino", "nncf", "onnxruntime", "onnx"),
    *("torchcodec", "decord", "opencv-python-headless"),
)


def describe_machine(*, threads: int, device: str = "cpu") -> dict[str, Any]:
    """Facts that a figure is worth nothing without, in the order they are shown."""
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
    """Processes that wanted a core during the last minute: what else was going on."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
