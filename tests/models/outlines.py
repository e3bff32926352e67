"""Sizes and parameters of a network, part by part, without memory or arithmetic."""

import torch

from t3d.models import Network, create_model

Sizes = dict[str, tuple[int, ...]]


def outline(name: str, num_classes: int = 400, **overrides: object) -> Network:
    with torch.device("meta"):
        return create_model(name, num_classes, **overrides).eval()


def sizes(model: Network, *clip: int) -> Sizes:
    """(C, T, H, W) after the stem and after every stage, of a clip (T, H, W)."""
    features = model.stem(torch.empty(1, model.spec.in_channels, *clip, device="meta"))
    found = {"stem": tuple(features.shape[1:])}
    for name, stage in model.stages.named_children():
        features = stage(features)
        found[name] = tuple(features.shape[1:])
    return found


def num_parameters(model: Network) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def shapes(model: Network, *, but: str = "?") -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors but those whose names hold a text."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if but not in name}


def temporal_transition(channels: int, depths: tuple[int, ...]) -> int:
    """Parameters of one of equal width: a norm and a convolution a branch, the first branches get the rest."""
    count, left = 0, channels
    for index, depth in enumerate(depths):
        width = -(-left // (len(depths) - index))
        left -= width
        count += 2 * channels + channels * width * (1 if depth == 1 else 9 * depth)
    return count
