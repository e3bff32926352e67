"""Are the weight gradients of bfloat16 convolutions right on this CPU, and with their input padded beforehand?

Relative L2 error against float32 for kernels of some depths (x 3 x 3) on inputs of some frames. About 0.002 is what
bfloat16 can do. Each case has a process of its own, for a wrong gradient may be written beyond its memory and end it.
`t3d train --precision bf16-mixed` pads, and checks every convolution of its network before it starts.
"""

import itertools
import multiprocessing
from contextlib import nullcontext
from multiprocessing.connection import Connection

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.options import Options
from benchmarks.tables import values_table
from t3d.bench.experiments import Findings
from t3d.bench.rounds import LOGGER
from t3d.models.fast.convolutions import Conv3dOverride, conv3d_padded_in_time

DEPTHS, FRAMES, STRIDES = (3, 6), (1, 2, 4, 6), (1, 2)
CHANNELS, SIZE = (32, 16), 8
_COLUMNS = {"depth": "", "frames": "", "stride": "", "as it is": ".4f", "padded": ".4f"}


def run(options: Options) -> Findings:
    """Compare every case."""
    rows = []
    for depth, frames, stride in itertools.product(DEPTHS, FRAMES, STRIDES):
        LOGGER.info("depth %d, %d frames, stride %d", depth, frames, stride)
        plain, padded = (_in_a_process(depth, frames, stride, padded) for padded in (False, True))
        rows.append({"depth": depth, "frames": frames, "stride": stride, "as it is": plain, "padded": padded})
    title = "Relative error of weight gradients in bfloat16"
    note = f"Kernels of depth x 3 x 3, {CHANNELS[0]} to {CHANNELS[1]} channels, 2 clips of frames x {SIZE} x {SIZE}."
    return Findings(tables=[values_table(title, _COLUMNS, rows, notes=[note])])


def _in_a_process(*case: int) -> float | str:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_error, args=(sender, *case))
    process.start()
    sender.close()
    try:
        return float(receiver.recv())
    except EOFError:
        return "ends the process"
    finally:
        process.join()


def _error(sender: Connection, depth: int, frames: int, stride: int, padded: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(2, CHANNELS[0], frames, SIZE, SIZE, generator=generator).bfloat16()
    weight = torch.randn(CHANNELS[1], CHANNELS[0], depth, 3, 3, generator=generator).bfloat16()
    with Conv3dOverride(conv3d_padded_in_time) if padded else nullcontext():
        exact, rounded = (
            _gradient(weight.to(kind), clips.to(kind), stride) for kind in (torch.float32, torch.bfloat16)
        )
    sender.send(float((exact - rounded).norm() / exact.norm()))


def _gradient(weight: Tensor, clips: Tensor, stride: int) -> Tensor:
    weight.requires_grad_()
    scores = F.conv3d(clips, weight, stride=stride, padding=[size // 2 for size in weight.shape[2:]])
    pull = torch.linspace(-1, 1, scores.numel()).view_as(scores).to(scores)
    return torch.autograd.grad(scores, weight, pull)[0].float()
