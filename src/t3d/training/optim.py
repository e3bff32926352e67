"""Parameter groups, learning rates and schedules."""

import math
import re
from collections.abc import Callable

from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from t3d.errors import ConfigError

NUM_STAGES = 6
"""Stem, four blocks each with the transition before it, head: the stages of every network in the table."""


def stage_of(parameter_name: str) -> int:
    """Depth of a parameter: 0 stem, 1 to 4 blocks (each with the transition before it), 5 head."""
    if parameter_name.startswith("stem."):
        return 0
    block = re.match(r"stages\.(block|transition)(\d+)\.", parameter_name)
    if block is None:
        return NUM_STAGES - 1
    return int(block[2]) + (block[1] == "transition")


def freeze_stages(model: nn.Module, num_stages: int) -> None:
    """Freeze the first stages; the classifier is never frozen. See also `keep_frozen_in_eval`.

    Raises:
        ConfigError: There are fewer stages.
    """
    if not 0 <= num_stages <= NUM_STAGES:
        raise ConfigError(f"--freeze {num_stages} must lie between 0 and {NUM_STAGES}")
    for name, parameter in model.named_parameters():
        frozen = stage_of(name) < num_stages and not name.startswith("classifier.")
        parameter.requires_grad_(not frozen)


def keep_frozen_in_eval(model: nn.Module) -> None:
    """Put every norm with a frozen scale into evaluation mode, so that its statistics do not change."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d) and not module.weight.requires_grad:
            module.eval()


def build_optimizer(
    model: nn.Module, *, lr: float, momentum: float, nesterov: bool, weight_decay: float, layer_decay: float = 1.0
) -> SGD:
    """SGD with one parameter group per stage, with the rate `lr * layer_decay ** (stages above it)`.

    Source: Diba et al. 2017, arXiv:1711.08200, section 4: SGD, Nesterov momentum 0.9, weight decay 1e-4.
    """
    groups: dict[int, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(stage_of(name), []).append(parameter)
    return SGD(
        [
            {"params": parameters, "lr": lr * layer_decay ** (NUM_STAGES - 1 - stage), "stage": stage}
            for stage, parameters in sorted(groups.items())
        ],
        lr=lr,
        momentum=momentum,
        nesterov=nesterov and momentum > 0,
        weight_decay=weight_decay,
    )


def build_schedule(
    optimizer: Optimizer, *, kind: str, num_steps: int, warmup_steps: int, steps_per_decay: int, decay_factor: float
) -> LambdaLR:
    """Schedule per update: linear warm-up, then `cosine` to zero, `step`, or constant (`plateau`).

    For `plateau`, `divide_rates` is called between epochs when validation loss has stopped falling.
    """
    shapes: dict[str, Callable[[int], float]] = {
        "cosine": lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, num_steps)))),
        "step": lambda step: decay_factor ** (step // max(1, steps_per_decay)),
        "plateau": lambda step: 1.0,
    }
    shape = shapes[kind]
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1, warmup_steps)) * shape(step))


def divide_rates(schedule: LambdaLR, factor: float) -> None:
    """Multiply the rates of all groups from now on; used by `plateau`."""
    schedule.base_lrs = [rate * factor for rate in schedule.base_lrs]
    for group in schedule.optimizer.param_groups:  # the rate of the next update is already set
        group["lr"] *= factor
