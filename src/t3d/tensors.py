"""Type aliases for tensor shapes.

Axes: B batch, N clips (or views) of one video, C channels, T time, H height, W width, D features, K classes.
"""

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

Frames = UInt8[Tensor, "T H W C"]
"""Decoded frames, RGB, 0..255."""

Clip = UInt8[Tensor, "C T H W"]
"""One transformed clip, still uint8: a quarter of the memory of float32."""

Views = UInt8[Tensor, "N C T H W"]
"""Several transformed clips or crops of one video."""

Clips = Float[Tensor, "B C T H W"]
"""Normalised clips, the input of 3D networks."""

Images = Float[Tensor, "B C H W"]
"""Normalised images, the input of 2D networks."""

Features = Float[Tensor, "B D"]
FeatureMap = Float[Tensor, "B D t h w"]
"""Feature maps of a network; t h w are smaller than T H W of the clips."""

Logits = Float[Tensor, "B K"]

FrameIndices = Int64[Tensor, "N T"]
"""Frame indices of N clips of T frames."""

ClipFrames = Int64[Tensor, " T"]
"""Frame indices of a single clip."""
