"""Exported networks as programs of PyTorch itself (.pt2): they run without the network's code. On the CPU only."""

from pathlib import Path
from zipfile import is_zipfile

import torch
from torch.export import ExportedProgram

from t3d.inference.backends.base import KEY
from t3d.inference.scorer import Scorer
from t3d.tensors import Logits, Views


def convert(program: ExportedProgram) -> ExportedProgram:
    """Take the program as it is."""
    return program


def save(program: ExportedProgram, path: Path, text: str) -> None:
    """Write a program with its description beside it in the archive."""
    torch.export.save(program, path, extra_files={KEY: text})


def read(path: Path) -> tuple[ExportedProgram, str | None]:
    """Read a program and its description, None where the archive has none.

    Raises:
        ValueError: The file is no archive.
    """
    if not is_zipfile(path):  # PyTorch would log a traceback of its own
        raise ValueError("not a whole archive")
    extra = {KEY: ""}
    program = torch.export.load(path, extra_files=extra)
    return program, extra[KEY] or None


def start(program: ExportedProgram, precision: str) -> Scorer:
    """Score with a program."""
    assert precision == "float32"
    network = program.module()

    @torch.inference_mode()
    def score(clips: Views) -> Logits:
        logits: Logits = network(clips)
        return logits

    return score
