"""What a command computes with: checked before it starts, and computed so that it is right."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from t3d.config import Precision
from t3d.engine.checkpoints import ModelCard
from t3d.engine.convolutions import Rerouted, padded_in_time
from t3d.engine.selfcheck import FINER, check_convolutions, convolutions_of
from t3d.recipes.console import warn

_PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_MOST_CLIPS = 2
"""Of a batch that is compared: in float64, whole ones would take a GPU longer, and more memory, than training does."""
_SLOW = 2.0
"""Times as long as in the finer format, from which on a warning is due."""


def wants_check(device: torch.device, precision: Precision) -> bool:
    """Whether the arithmetic is of a kind that has been seen to go wrong: any on CUDA, and all but float32 on a CPU.

    Other devices may lack the finer format it would be compared with.
    """
    return device.type == "cuda" or (device.type == "cpu" and precision != "32-true")


def check_arithmetic(
    network: nn.Module,
    clips: tuple[int, int, int, int, int],
    *,
    device: torch.device,
    precision: Precision,
    learns: bool,
    channels_last: bool = False,
) -> None:
    """Compare the network's convolutions with finer ones; warn where they are slow.

    Args:
        network: Its outline, on the meta device; it takes on the number format of the convolutions.
        clips: (B, C, T, H, W) of a batch; two of its clips are looked at.
        device: Where to compute.
        precision: Of the arithmetic.
        learns: Whether gradients are wanted.
        channels_last: Whether this is the order in memory.

    Raises:
        ConfigError: A result or gradient is wrong.
    """
    kind = _PRECISIONS[precision]
    with computing(device, precision=precision) if learns else nullcontext():
        convolutions = convolutions_of(network.to(kind), (min(clips[0], _MOST_CLIPS), *clips[1:]), learns=learns)
    slowdown = check_convolutions(
        convolutions,
        device=device,
        precision=kind,
        gradients=learns,
        memory_format=torch.channels_last_3d if channels_last else torch.contiguous_format,
    )
    if slowdown > _SLOW:
        finer = str(FINER[kind]).removeprefix("torch.")
        warn(f"--precision {precision} takes {slowdown:.0f} times as long as {finer} here")


def check_scoring(card: ModelCard, num_clips: int, *, device: torch.device, precision: Precision) -> None:
    """The same for the network of a card and batches of so many of its clips, where the check is wanted at all.

    Raises:
        ConfigError: A result is wrong.
    """
    if not wants_check(device, precision):
        return
    with torch.device("meta"):
        network = card.build().eval()
    size = card.pixels.crop_size
    clips = (num_clips, card.pixels.channels, card.clip.num_frames, size, size)
    check_arithmetic(network, clips, device=device, precision=precision, learns=False)


def computing(device: torch.device, *, precision: Precision) -> AbstractContextManager[object]:
    """What an objective is to enter around the network, so that the gradients are right."""
    padded = device.type == "cpu" and precision == "bf16-mixed"
    return Rerouted(padded_in_time) if padded else nullcontext()
