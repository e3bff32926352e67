"""Choices and ranges that several flags share.

The tables of networks, teachers and layouts are in modules that import PyTorch; `t3d --help` and the answer to a typo
must not wait for that. This module repeats their names, and a test compares each list with its table.
"""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from t3d.bounds import at_least, between, per_core
from t3d.inference.backends import BACKENDS

Format = Literal["csv", "ucf101", "hmdb51", "kinetics", "folder"]
"""Names in `t3d.data.formats.FORMATS`."""

BUILT_IN = "temporal-shapes"
"""Name of the built-in dataset, which is rendered on first use."""

Accelerator = Literal["auto", "cpu", "cuda"]

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Names in `t3d.inference.backends.base.PRECISIONS`."""

Backend = Literal["pyav", "torchcodec"]
"""Names in `t3d.video.decode.BACKENDS`."""

if TYPE_CHECKING:
    EngineName: TypeAlias = str
    ExportTarget: TypeAlias = str
    ExportPrecision: TypeAlias = str
else:  # choices of the table of backends
    EngineName = Literal[("auto", *BACKENDS)]
    ExportTarget = Literal[tuple(backend.target for backend in BACKENDS.values())]
    ExportPrecision = Literal[tuple(dict.fromkeys(name for row in BACKENDS.values() for name in row.precisions))]


Layout = Literal[
    "auto",
    "t3d_authors",
    "torchvision_densenet",
    "torchvision_resnet",
    "torchvision_r3d",
    "hara_resnet",
    "hara_densenet",
    "i3d",
    "c3d",
    "c3d_jfzhang",
    "c3d_mmaction2",
]
"""Names in `t3d.models.pretrained.layouts.LAYOUTS`, and `auto`."""

Pipeline = Literal["scratch", "transfer", "ft-transfer", "inflation"]
"""Names of the pipelines in `t3d.commands.pipeline`."""

BenchKind = Literal["infer", "train"]

Workers = Annotated[int, at_least(0), per_core(4)]
"""Number of decoding processes."""

Seed = Annotated[int, between(0, 2**32 - 1)]
"""Seeds that PyTorch and NumPy accept."""

ARCHITECTURES = (
    "c3d",
    "c3d_tiny",
    "densenet3d_121",
    "densenet3d_161",
    "densenet3d_169",
    "densenet3d_201",
    "densenet3d_tiny",
    "i3d",
    "inception3d",
    "inception3d_ttl",
    "inception3d_tiny",
    "inception3d_tiny_ttl",
    "r3d_18",
    "resnet3d_10",
    "resnet3d_18",
    "resnet3d_34",
    "resnet3d_38",
    "resnet3d_50",
    "resnet3d_50_ttl",
    "resnet3d_101",
    "resnet3d_tiny",
    "resnet3d_tiny_ttl",
    "t3d_121",
    "t3d_161",
    "t3d_169",
    "t3d_201",
    "t3d_tiny",
)
"""Names in `t3d.models.registry.ARCHITECTURES`."""

TEACHERS = (
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "efficientnet_lite0",
    "colour_statistics",
)
"""Names in `t3d.transfer.teachers.TEACHERS`."""
