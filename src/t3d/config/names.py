"""Values that flags choose from."""

from typing import Literal

Format = Literal["ucf101", "hmdb51", "kinetics", "folder", "csv"]


Accelerator = Literal["auto", "cpu", "cuda"]


Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


Backend = Literal["pyav", "torchcodec"]


EngineName = Literal["auto", "torch", "onnxruntime", "openvino"]


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


Flow = Literal["scratch", "transfer", "ft-transfer", "inflation"]


BenchKind = Literal["train", "infer", "load", "transfer", "startup", "growth"]
