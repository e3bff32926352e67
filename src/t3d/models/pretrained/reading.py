"""Recognise and rename published weights, and determine the network and options that compute the same function.

The names are in `t3d.models.pretrained.layouts`; `t3d.models.pretrained.files` reads the tensors.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from t3d.errors import CheckpointError, ConfigError
from t3d.models.layers import times
from t3d.models.pretrained.layouts import LAYOUTS, Layout
from t3d.models.registry import create_model
from t3d.video.spec import ClipSpec, PixelSpec
from t3d.video.transforms import normalise

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published network, as one of ours."""

    layout: str
    arch: str
    overrides: Mapping[str, Any]
    num_classes: int
    """0 if the file has no classifier."""
    tensors: Mapping[str, Tensor]
    """By our names; batch counters of norms may be missing."""
    pixels: PixelSpec
    clip: ClipSpec
    inexact: str
    """Where `pixels` and `clip` differ from what was published, or were not published."""
    bgr: bool
    """The network was trained on BGR, and its first convolution was reversed."""


def read_published(tensors: Tensors, *, layout: str = "auto", arch: str | None = None, bgr: bool = False) -> Published:
    """Determine the network of published weights, and rename them.

    Args:
        tensors: By their published names.
        layout: A key of `LAYOUTS`, or `auto` to recognise it.
        arch: The network, if it is not one of the layout's.
        bgr: The network was trained on BGR; not needed for layouts known to be BGR.

    Raises:
        ConfigError: The layout or the network is unknown.
        CheckpointError: No layout or several fit the names, or the weights are incomplete.
    """
    name = recognise(tensors) if layout == "auto" else layout
    row = _layout_named(name)
    renamed = _by_our_names(tensors, row)
    fits = [_fit(renamed, candidate, row.overrides) for candidate in ([arch] if arch else row.archs)]
    best = min(fits, key=lambda fit: fit.num_misfits)
    if best.num_misfits:
        raise CheckpointError(_complaint(best, name, tensors, renamed))
    pixels, inexact = _preprocessing(row, best.overrides.get("in_channels", 3))
    return Published(
        layout=name,
        arch=best.arch,
        overrides=best.overrides,
        num_classes=_num_classes(renamed),
        tensors=_seeing_our_pixels(renamed, pixels, bgr=row.bgr or bgr),
        pixels=pixels,
        clip=row.clip,
        inexact=inexact,
        bgr=row.bgr or bgr,
    )


def recognise(tensors: Tensors) -> str:
    """Find the layout that fits all names and kernel depths.

    Raises:
        CheckpointError: None does, or several do.
    """
    odd = {name: _first_odd(tensors, row) for name, row in LAYOUTS.items()}
    suited = [name for name, stranger in odd.items() if stranger is None]
    if len(suited) == 1:
        return suited[0]
    if suited:
        raise CheckpointError(f"these names suit {' and '.join(suited)}; say which (--from)")
    strangers: dict[str, list[str]] = {}
    for name, stranger in odd.items():
        strangers.setdefault(str(stranger), []).append(name)
    tried = "; ".join(f"{stranger} is not of {', '.join(names)}" for stranger, names in strangers.items())
    raise CheckpointError(f"no layout suits these {len(tensors)} names: {tried}")


def from_published(state_dict: Tensors, *, layout: str) -> dict[str, Tensor]:
    """Rename published weights so that `load_state_dict(..., strict=True)` accepts them.

    2D kernels get a temporal size of 1; a classifier that is a 1x1x1 convolution becomes a matrix.

    Args:
        state_dict: Tensors by their published names.
        layout: A key of `LAYOUTS`; build the network with its `overrides`.

    Raises:
        ConfigError: The layout is unknown.
        CheckpointError: A name, or the depth of a kernel, does not belong to the layout.
    """
    row = _layout_named(layout)
    stranger = _first_odd(state_dict, row)
    if stranger is not None:
        raise CheckpointError(f"tensor {stranger} is not part of layout {layout} ({row.source})")
    return _by_our_names(state_dict, row)


def published_name(name: str, *, layout: str) -> str | None:
    """Published name of one of our tensors; None if the layout has no such tensor."""
    pairs = [(ours, theirs) for theirs, ours in _layout_named(layout).names]
    return _renamed([name], pairs)[name]


def _layout_named(name: str) -> Layout:
    """Find the row of a layout.

    Raises:
        ConfigError: The name is unknown.
    """
    if name not in LAYOUTS:
        raise ConfigError(f"unknown layout {name!r}; choose from {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def _first_odd(tensors: Tensors, row: Layout) -> str | None:
    """The first tensor whose name or kernel does not fit this layout, in quotes."""
    ours = _renamed(tensors, row.names, prefix=row.prefix)
    other = 5 if row.flat else 4  # dimensions of a 3D or a 2D kernel
    for name, tensor in tensors.items():
        if ours[name] is None:
            return repr(name)
        if tensor.ndim == other:
            return f"{name!r} of {other} dimensions"
    return None


def _by_our_names(tensors: Tensors, row: Layout) -> dict[str, Tensor]:
    """Rename and reshape the tensors of the layout; others stay unchanged."""
    ours = _renamed(tensors, row.names, prefix=row.prefix)
    renamed: dict[str, Tensor] = {}
    for theirs, tensor in tensors.items():
        name = ours[theirs] or theirs
        if name in renamed:
            raise CheckpointError(f"two tensors mean the same, one of them is {theirs!r}; remove one")
        renamed[name] = _shaped(tensor, name, row)
    return renamed


def _shaped(tensor: Tensor, name: str, row: Layout) -> Tensor:
    if name == "classifier.weight" and tensor.ndim > 2:
        return tensor.flatten(1)
    return tensor.unsqueeze(2) if row.flat and tensor.ndim == 4 else tensor


def _renamed(names: Iterable[str], pairs: Iterable[tuple[str, str]], *, prefix: str = "") -> dict[str, str | None]:
    """A name with its first part replaced by the matching pair; None if none matches."""
    patterns = [(_pattern(given, prefix), wanted) for given, wanted in pairs]
    renamed: dict[str, str | None] = dict.fromkeys(names)
    for name in renamed:
        for pattern, wanted in patterns:
            match = pattern.fullmatch(name)
            if match:
                renamed[name] = f"{wanted.format(**match.groupdict())}.{match['leaf']}"
                break
    return renamed


@cache
def _pattern(template: str, prefix: str) -> re.Pattern[str]:
    """A template as a regular expression: {a} is a number, and one more word follows."""
    numbered = re.sub(r"\\{(\w)\\}", r"(?P<\1>\\d+)", re.escape(template))
    return re.compile(f"(?:{re.escape(prefix)})?{numbered}" + r"\.(?P<leaf>\w+)")


def _num_classes(renamed: Tensors) -> int:
    classifier = renamed.get("classifier.weight")
    return 0 if classifier is None or not classifier.ndim else len(classifier)


def _first_convolution(renamed: Tensors) -> str | None:
    return next((name for name, tensor in renamed.items() if name.startswith("stem.") and tensor.ndim == 5), None)


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Tensors of a network that a file lacks, has in excess, or has in another shape."""

    arch: str
    overrides: Mapping[str, Any]
    own: Tensors
    """The network's tensors, on the meta device."""
    missing: list[str]
    unexpected: list[str]
    misshaped: list[str]

    @property
    def num_misfits(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.misshaped)

    @property
    def lacks_shortcuts_only(self) -> bool:
        """Whether only shortcuts are missing, as in residual networks of type A."""
        shortcuts = [name for name in _needed(self.own) if ".shortcut." in name]
        return bool(shortcuts) and self.missing == shortcuts and self.num_misfits == len(shortcuts)


def _fit(renamed: Tensors, arch: str, overrides: Mapping[str, Any]) -> _Fit:
    stem = _first_convolution(renamed)
    channels = 3 if stem is None else renamed[stem].shape[1]
    literals = dict(overrides) if channels == 3 else {**overrides, "in_channels": channels}
    with torch.device("meta"):
        own = create_model(arch, _num_classes(renamed), **literals).state_dict()
    return _Fit(
        arch=arch,
        overrides=literals,
        own=own,
        missing=[name for name in _needed(own) if name not in renamed],
        unexpected=[name for name in renamed if name not in own],
        misshaped=[name for name in renamed if name in own and renamed[name].shape != own[name].shape],
    )


def _needed(own: Tensors) -> list[str]:
    """All tensors except batch counters, which older files lack."""
    return [name for name in own if not name.endswith(".num_batches_tracked")]


def _complaint(fit: _Fit, layout: str, tensors: Tensors, renamed: Tensors) -> str:
    """One line naming the tensor that does not fit, by its published name."""
    if fit.lacks_shortcuts_only:
        return f"a {fit.arch} with shortcuts of type A, which have no weights; only type B is supported"
    theirs = dict(zip(renamed, tensors, strict=True))
    parts = []
    for kind, names in (("missing", fit.missing), ("unexpected", fit.unexpected), ("of another shape", fit.misshaped)):
        first = f" (first {theirs.get(names[0]) or published_name(names[0], layout=layout)!r})" if names else ""
        parts.append(f"{len(names)} {kind}{first}")
    if fit.misshaped:
        given, wanted = (times(outline[fit.misshaped[0]].shape) or "one number" for outline in (renamed, fit.own))
        parts[-1] += f", {given} instead of {wanted}"
    return f"does not fit {fit.arch}, the nearest of layout {layout}: {'; '.join(parts)}"


def _preprocessing(row: Layout, channels: int) -> tuple[PixelSpec, str]:
    """Preprocessing of the frames, and how it differs from the published one.

    Raises:
        CheckpointError: The meaning of the input channels is unknown.
    """
    if channels == 3:
        return row.pixels, row.inexact
    if channels != 2 or not row.flow:
        raise CheckpointError(f"a network of {channels} channels, and it is not known what they hold; only RGB is read")
    resize, crop_size = row.pixels.resize, row.pixels.crop_size
    pixels = PixelSpec(modality="flow", resize=resize, crop_size=crop_size, flow_bound=20 / resize)
    return pixels, "published with another method of finding optical flow; its range, 20 of 256 pixels, is the same"


def _seeing_our_pixels(renamed: Tensors, pixels: PixelSpec, *, bgr: bool) -> dict[str, Tensor]:
    """Adapt the first convolution to the channel order and scale of our input.

    Raises:
        CheckpointError: The input has not three channels to reverse.
    """
    stem = _first_convolution(renamed)
    assert stem is not None  # the network has one
    kernel = renamed[stem]
    if bgr:
        if kernel.shape[1] != 3:
            raise CheckpointError(f"{kernel.shape[1]} channels are not blue, green and red; leave out --bgr")
        kernel = kernel.flip(1)
    if pixels.modality == "flow":
        full = normalise(torch.full((1, 2, 1, 1, 1), 255, dtype=torch.uint8), pixels)
        kernel = kernel / full.max()  # published: the largest motion is 1
    return {**renamed, stem: kernel}
