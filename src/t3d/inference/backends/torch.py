"""Exported networks as PyTorch programs (.pt2), which run without the code of t3d, on the CPU.

Networks that were not exported are scored by `t3d.inference.scorer`.
"""

from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import is_zipfile

from t3d.inference.backends.base import KEY, Backend, Scorer

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from t3d.models.checkpoints import ModelCard
    from t3d.tensors import Logits, Views


def translate(network: "nn.Module", card: "ModelCard", calibration: "Views | None" = None) -> "ExportedProgram":
    """Capture the network as a program."""
    from t3d.inference.graph import capture

    assert calibration is None, "float32 only"
    return capture(network, card)


def save(program: "ExportedProgram", path: Path, text: str) -> None:
    """Write a program with its description in the archive."""
    import torch

    torch.export.save(program, path, extra_files={KEY: text})


def read(path: Path) -> "tuple[ExportedProgram, str | None]":
    """Read a program and its description, None if missing.

    Raises:
        ValueError: The file is not an archive.
    """
    import torch

    if not is_zipfile(path):  # PyTorch would log a traceback of its own
        raise ValueError("not a whole archive")
    extra = {KEY: ""}
    program = torch.export.load(path, extra_files=extra)
    return program, extra[KEY] or None


def start(program: "ExportedProgram", precision: str) -> Scorer:
    """Make a scorer of a program."""
    import torch

    assert precision == "float32"
    network = program.module()

    @torch.inference_mode()
    def score(clips: "Views") -> "Logits":
        logits: Logits = network(clips)
        return logits

    return score


TORCH = Backend(
    name="torch",
    target="torch",
    summary="a program of PyTorch that needs no code of the network's; weights are computed as they are, on any device",
    suffixes=(".pt2",),
    precisions=("float32",),
    packages={"float32": ()},
    translate=translate,
    save=save,
    read=read,
    start=start,
)
