"""The networks that are measured, and what a step of them computes. Which ways there are is the arms' business."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from t3d.bench.literal import NETWORKS, literal_network
from t3d.bench.rounds import Step
from t3d.errors import ConfigError
from t3d.models import create_model
from t3d.models.folding import folded
from t3d.models.sizes import times

Shape = tuple[int, int, int, int, int]
"""B x C x T x H x W."""


def build_network(arch: str, *, literal: bool = False, fold: bool = False, device: str = "cpu") -> nn.Module:
    """Build ours, or folded for scoring, or the one written plainly, with random weights.

    Raises:
        ConfigError: There is no such network.
    """
    with torch.device(device):
        if literal:
            return literal_network(arch)
        return folded(create_model(arch)) if fold else create_model(arch)


def has_literal(arch: str) -> bool:
    """Whether the network was also written plainly."""
    return arch in NETWORKS


def check_clips(arch: str, shape: Shape, *, training: bool) -> None:
    """Make sure, without computing anything, that a network takes such clips.

    Raises:
        ConfigError: They are too small for it, or too few to normalise over.
    """
    with torch.device("meta"), torch.no_grad():
        network, clips = create_model(arch).train(training), torch.empty(shape)
        try:
            network(clips)
        except ValueError as error:  # of batch norm
            raise ConfigError(
                f"clips of {times(shape)} leave {arch} one value a channel to normalise in training; use a larger "
                "--batch-size or --crop-size"
            ) from error


def wait_for(device: str) -> None:
    """Return when all that was asked of a GPU is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def forward_step(*, arch: str, shape: Shape, device: str = "cpu", **overrides: Any) -> Step:  # noqa: ANN401
    """Build a network, some of its literals replaced, and return a step: a forward pass of random clips."""
    with torch.device(device):
        network, clips = create_model(arch, **overrides).eval(), torch.rand(shape)

    @torch.inference_mode()
    def step() -> None:
        network(clips)
        wait_for(device)

    return step


def count_flops(build: Callable[..., Step], **arguments: Any) -> int:  # noqa: ANN401  (the step's)
    """Count the operations of a step as it is really computed, without computing it: two a multiply-add."""
    step = build(**arguments, device="meta")
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())
