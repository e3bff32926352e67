"""Are the gradients of bfloat16 convolutions right on this machine? Each kernel of a T3D against float32.

    python benchmarks/bf16_gradients.py

Prints, for each kernel (T x H x W), the relative L2 error of the weight's and the input's gradient, the worst of three
draws. About 0.003 is what bfloat16 can do; more, or not a number, is why `t3d train` refuses bf16 on CPUs.
"""

import argparse

import torch
from torch import Tensor
from torch.nn import functional as F

Kernel = tuple[int, int, int]
KERNELS: tuple[Kernel, ...] = ((1, 1, 1), (3, 3, 3), (4, 3, 3), (6, 3, 3), (3, 7, 7))
SHAPE = (4, 56, 4, 12, 12)
NUM_OUT = 16


def main() -> None:
    """Compare every kernel and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    device = torch.device(parser.parse_args().device)
    print(f"torch {torch.__version__}, {device}\n\n| kernel | weight | input |\n|---|---:|---:|")
    for kernel in KERNELS:
        errors = [_errors(kernel, seed, device) for seed in range(3)]
        weight, clips = (
            max(column, key=lambda error: float("inf") if error != error else error)
            for column in zip(*errors, strict=True)
        )
        print(f"| {' x '.join(map(str, kernel))} | {weight:.4f} | {clips:.4f} |")


def _errors(kernel: Kernel, seed: int, device: torch.device) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    clips = torch.randn(SHAPE, generator=generator).to(device)
    weight = torch.randn(NUM_OUT, SHAPE[1], *kernel, generator=generator).to(device)
    exact, rounded = (_gradients(weight.to(kind), clips.to(kind)) for kind in (torch.float32, torch.bfloat16))
    return [float((own - other).norm() / own.norm()) for own, other in zip(exact, rounded, strict=True)]


def _gradients(weight: Tensor, clips: Tensor) -> list[Tensor]:
    weight, clips = (tensor.detach().clone().requires_grad_() for tensor in (weight, clips))
    scores = F.conv3d(clips, weight, padding=[size // 2 for size in weight.shape[2:]])
    pull = torch.linspace(-1, 1, scores.numel(), device=scores.device).view_as(scores).to(scores)
    return [gradient.float() for gradient in torch.autograd.grad(scores, [weight, clips], pull)]


if __name__ == "__main__":
    main()
