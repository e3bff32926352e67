"""Start the processes and devices a command asked for, and end them together."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.fabric import Fabric
from torch import distributed

from t3d.config import Accelerator, Precision, ScoringOptions
from t3d.engine.heap import keep_freed_memory
from t3d.engine.opening import Opened
from t3d.errors import ConfigError, T3DError
from t3d.recipes.arithmetic import check_scoring
from t3d.recipes.console import warn
from t3d.recipes.processes import is_first_process


def build_fabric(*, accelerator: Accelerator, precision: Precision, devices: int = 1, nodes: int = 1) -> Fabric:
    """Check what was asked for; nothing starts yet.

    Raises:
        ConfigError: A GPU was asked for and there is none, or the devices cannot be had in this number or precision.
    """
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--accelerator cuda: no CUDA device is available; use --accelerator cpu")
    for name in ("lightning.fabric", "lightning.pytorch"):  # they announce every process on the terminal
        logging.getLogger(name).setLevel(logging.WARNING)
    if precision == "16-mixed" and (accelerator == "cpu" or not torch.cuda.is_available()):
        raise ConfigError("--precision 16-mixed needs a GPU; use bf16-mixed or 32-true on a CPU")
    try:
        return Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=precision)
    except Exception as error:  # of half a dozen unrelated types
        raise ConfigError(
            f"--accelerator {accelerator} --devices {devices} --precision {precision}: {_one_line(error)}"
        ) from error


def scoring_fabric(network: Opened, options: ScoringOptions, *, devices: int = 1) -> Fabric:
    """Check what was asked for against what the network's engine can do, as `build_fabric` does.

    Raises:
        ConfigError: A GPU, or several devices, are asked of an engine that has one CPU; or the device computes wrongly.
    """
    if not network.cpu_only:
        fabric = build_fabric(accelerator=options.accelerator, precision=options.precision, devices=devices)
        check_scoring(network.card, options.views.batch_size, device=fabric.device, precision=options.precision)
        keep_freed_memory()
        return fabric
    if network.is_outdated:
        warn(
            f"{network.file}: was exported from other weights than are there now; t3d export RUN --overwrite renews it"
        )
    if options.accelerator == "cuda":
        raise ConfigError(f"{network.file}: is computed on the CPU; leave out --accelerator cuda, or give the run")
    if devices > 1:
        raise ConfigError(f"{network.file}: is computed on one device; leave out --devices {devices}, or give the run")
    return build_fabric(accelerator="cpu", precision="32-true")


@contextmanager
def launched(fabric: Fabric) -> Iterator[None]:
    """Start one process a device, by torchrun, SLURM or as children of this one, and end together.

    Raises:
        ConfigError: The launcher started another number of processes than the flags say.
        T3DError: Another process has ended before the end.
    """
    try:
        fabric.launch()
    except ValueError as error:
        raise ConfigError(f"--devices and --nodes are not what the launcher started: {_one_line(error)}") from error
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or "Connection" not in str(error):
            raise
        if not is_first_process():
            raise SystemExit(1) from None
        raise T3DError("another process of this command ended early; its own message says why") from error
    if fabric.world_size > 1:
        fabric.barrier()
        gc.collect()  # tensors that outlive the process group can abort gloo at exit
        distributed.destroy_process_group()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
