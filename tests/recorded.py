"""Recorded outputs of published networks, and the rule that made the weights they were recorded with."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch


def published_weights(fixtures: Path, name: str) -> dict[str, torch.Tensor]:
    """Tensors by their published names, each made from its name and shape alone."""
    listed = json.loads((fixtures / f"{name}.json").read_text())["state_dict"]
    return {key: _by_rule(key, shape) for key, shape in listed}


def standard_input(shape: tuple[int, ...]) -> torch.Tensor:
    """What the outputs were recorded for."""
    return torch.from_numpy(np.random.RandomState(0).standard_normal(shape).astype(np.float32))


def recorded(fixtures: Path, name: str, key: str) -> torch.Tensor:
    """One recorded array."""
    with np.load(fixtures / f"{name}.npz") as arrays:
        return torch.from_numpy(arrays[key])


def _by_rule(name: str, shape: list[int]) -> torch.Tensor:
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    if len(shape) >= 2:
        values = noise * math.sqrt(2 / math.prod(shape[1:]))
    elif leaf in ("weight", "running_var"):
        values = 1 + 0.1 * (noise if leaf == "weight" else np.abs(noise))
    else:
        values = 0.1 * noise
    return torch.from_numpy(np.asarray(values).astype(np.float32))
