"""Which of a command's processes this one is. Starting them is `t3d.recipes.device`'s business; no torch here."""

import os


def is_first_process() -> bool:
    """Whether this process speaks and writes for all that torchrun, SLURM or Fabric started."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
