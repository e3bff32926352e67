"""One vocabulary for tensor shapes, so that a signature says what a comment would.

Axes: B batch, N clips (or views) of one video, C channels, T time, H height, W width, D features, K classes.
"""

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

Frames = UInt8[Tensor, "T H W C"]
"""Decoded pictures, RGB, 0..255."""

Clip = UInt8[Tensor, "C T H W"]
"""One transformed clip, still 0..255: a quarter of the memory and traffic of float32."""

Views = UInt8[Tensor, "N C T H W"]
"""Several transformed clips or crops of one video."""

Clips = Float[Tensor, "B C T H W"]
"""What a network eats: normalised."""

Images = Float[Tensor, "B C H W"]
"""Single pictures, normalised: what a 2D network eats."""

Features = Float[Tensor, "B D"]
FeatureMap = Float[Tensor, "B D t h w"]
"""What a network makes of clips; t h w are smaller than the T H W it was given."""

Logits = Float[Tensor, "B K"]

FrameIndices = Int64[Tensor, "N T"]
"""Which frames of a video make up each of N clips of T frames."""

ClipFrames = Int64[Tensor, " T"]
"""The same for a single clip."""
