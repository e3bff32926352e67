"""From decoded frames to network input: resize, crop, flip, colour, all on uint8; floats only at the end.

Every random choice is drawn once per clip, never per frame.
"""

import math

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from t3d.errors import ConfigError
from t3d.tensors import Clip, Clips, Views
from t3d.video.spec import AugmentSpec, PixelSpec

Pictures = UInt8[Tensor, "T height width C"]
"""Frames before cropping; height and width differ from those of the result."""

ZERO_MOTION = 128
"""The byte of optical flow for no motion."""
_FLOW_DEVIATION = 12.0


def train_view(frames: Pictures, pixels: PixelSpec, augment: AugmentSpec, generator: torch.Generator) -> Clip:
    """One random view of a clip: resize, crop, flip, colour jitter.

    A smaller crop is enlarged. Values of optical flow stay unchanged, as is usual, so they are slightly smaller than
    the motion in the enlarged frame.

    Source: Diba et al. 2017, arXiv:1711.08200, section 4, for the five crops and the flip; the rest is common practice.
    """
    pictures = resize(frames, pixels)  # (T, C, H, W)
    scale = augment.scales[int(torch.randint(len(augment.scales), (1,), generator=generator))]
    edge = max(round(pixels.crop_size * scale), 1)
    top, left = _crop_corner(pictures, edge, augment, generator)
    pictures = _scale_to(pictures[..., top : top + edge, left : left + edge], pixels.crop_size, pixels.crop_size)
    if torch.rand((), generator=generator) < augment.flip_probability:
        pictures = _flip(pictures, pixels)
    return _jitter(pictures.transpose(0, 1), augment, generator).contiguous()


def centre_view(frames: Pictures, pixels: PixelSpec) -> Clip:
    """Resize and take the centre crop: the default test view."""
    pictures = resize(frames, pixels)
    height, width = pictures.shape[-2:]
    return _crop(pictures, (height - pixels.crop_size) // 2, (width - pixels.crop_size) // 2, pixels.crop_size)


def three_views(frames: Pictures, pixels: PixelSpec) -> Views:
    """Resize and take three crops along the longer side: start, centre, end."""
    pictures = resize(frames, pixels)
    down, right = (length - pixels.crop_size for length in pictures.shape[-2:])
    if right >= down:
        corners = [(down // 2, left) for left in (0, right // 2, right)]
    else:
        corners = [(top, right // 2) for top in (0, down // 2, down)]
    return torch.stack([_crop(pictures, top, left, pixels.crop_size) for top, left in corners])


def normalise(clips: Views, pixels: PixelSpec) -> Clips:
    """Subtract the mean and divide by the deviation of each channel, on the device of the clips.

    For the modality `difference`, each frame is then subtracted from the next one, so that the mean cancels; the last
    difference is repeated, so that T stays the same. For `flow`, no motion becomes 0, and the deviation is fixed, about
    that of real videos, so that values are of order 1.

    Args:
        clips: uint8, (B, C, T, H, W).
        pixels: Mean and deviation, as fractions of 255, and the modality.

    Raises:
        ConfigError: For differences of clips of a single frame.
    """
    if pixels.modality == "flow":
        return (clips.float() - ZERO_MOTION) / _FLOW_DEVIATION
    mean, std = (
        torch.tensor(values, device=clips.device).mul(255).view(1, -1, 1, 1, 1) for values in (pixels.mean, pixels.std)
    )
    pictures = (clips.float() - mean) / std
    return _changes(pictures) if pixels.modality == "difference" else pictures


def _changes(clips: Clips) -> Clips:
    if clips.shape[2] < 2:
        raise ConfigError("clips of one frame hold no change; use --num-frames 2 or more, or --modality rgb")
    changes = clips.diff(dim=2)  # (B, C, T - 1, H, W)
    return torch.cat([changes, changes[:, :, -1:]], dim=2)


def resize(frames: Pictures, pixels: PixelSpec) -> Tensor:
    """Resize the short side, or both, to `pixels.resize`; returns (T, C, H, W)."""
    pictures = frames.permute(0, 3, 1, 2)  # (T, C, H, W)
    height, width = pictures.shape[-2:]
    if pixels.resize_mode == "exact":
        return _scale_to(pictures, pixels.resize, pixels.resize)
    short = min(height, width)
    return _scale_to(pictures, round(height * pixels.resize / short), round(width * pixels.resize / short))


def _flip(pictures: Tensor, pixels: PixelSpec) -> Tensor:
    """Flip left and right (T, C, H, W); negates the horizontal component of flow."""
    flipped = pictures.flip(-1)
    if pixels.modality == "flow":
        flipped[:, 0].neg_()  # of bytes: 256 - u, and u is never 0
    return flipped


def _scale_to(pictures: Tensor, height: int, width: int) -> Tensor:
    if pictures.shape[-2:] == (height, width):
        return pictures
    return F.interpolate(pictures, (height, width), mode="bilinear", antialias=True)


def _crop(pictures: Tensor, top: int, left: int, edge: int) -> Clip:
    return pictures[..., top : top + edge, left : left + edge].transpose(0, 1).contiguous()


def _crop_corner(pictures: Tensor, edge: int, augment: AugmentSpec, generator: torch.Generator) -> tuple[int, int]:
    """Top and left of a crop."""
    down, right = (length - edge for length in pictures.shape[-2:])
    centre = (down // 2, right // 2)
    if augment.crop == "centre":
        return centre
    if augment.crop == "random":
        top, left = (int(torch.randint(slack + 1, (1,), generator=generator)) for slack in (down, right))
        return top, left
    places = [(0, 0), (0, right), (down, 0), (down, right), centre]
    return places[int(torch.randint(len(places), (1,), generator=generator))]


# Luma and two chroma axes (NTSC's YIQ).
_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64)


def _jitter(clip: Clip, augment: AugmentSpec, generator: torch.Generator) -> Clip:
    """Change brightness, contrast, saturation and hue by one linear map of colours for the whole clip.

    Contrast scales around the clip's mean luma; saturation and hue scale and rotate the chroma plane of YIQ.
    """
    ranges = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    if not any(ranges):
        return clip
    draws = 2 * torch.rand(4, generator=generator, dtype=torch.float64) - 1
    brightness, contrast, saturation = (
        max(1 + amount * draw, 0.0) for amount, draw in zip(ranges[:3], draws.tolist()[:3], strict=True)
    )
    angle = 2 * math.pi * augment.hue * float(draws[3])
    turn = torch.zeros(3, 3, dtype=torch.float64)
    turn[0, 0] = 1
    turn[1:, 1:] = saturation * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    colours = (brightness * contrast * torch.linalg.inv(_TO_YIQ) @ turn @ _TO_YIQ).float()
    values = torch.einsum("ij,jthw->ithw", colours, clip.float())
    mean_luma = brightness * float(torch.einsum("j,jthw->thw", _TO_YIQ[0].float(), clip.float()).mean())
    return values.add_((1 - contrast) * mean_luma).round_().clamp_(0, 255).to(torch.uint8)
