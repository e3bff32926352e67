"""Start the processes and devices a command asked for."""

import gc

import torch
from lightning.fabric import Fabric
from torch import distributed

from t3d.config import RunOptions, ScoringOptions
from t3d.errors import ConfigError


def open_fabric(options: RunOptions | ScoringOptions) -> Fabric:
    """One process a device, by torchrun, SLURM or as children of this one.

    Raises:
        ConfigError: A GPU was asked for and there is none.
    """
    if options.accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--accelerator cuda: no CUDA device is available; use --accelerator cpu")
    num_nodes = options.nodes if isinstance(options, RunOptions) else 1
    fabric = Fabric(
        accelerator=options.accelerator, devices=options.devices, num_nodes=num_nodes, precision=options.precision
    )
    fabric.launch()
    return fabric


def close_fabric(fabric: Fabric) -> None:
    """Wait for all processes and take leave of them."""
    if fabric.world_size > 1:
        fabric.barrier()
        gc.collect()  # tensors that outlive the process group can abort gloo at exit
        distributed.destroy_process_group()
