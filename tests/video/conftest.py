"""Small files in every container and codec, and an independent decoder to hold the reader against."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

Pictures = list[NDArray[np.uint8]]


@pytest.fixture(scope="session")
def drifting() -> Callable[..., Pictures]:
    """A soft texture that drifts, so that every frame differs from every other."""

    def make(length: int, *, size: tuple[int, int] = (48, 64)) -> Pictures:
        coarse = torch.rand((1, 3, 6, 8), generator=torch.Generator().manual_seed(0)) * 255
        texture = torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0].permute(1, 2, 0).to(torch.uint8)
        return [texture.roll((index, 2 * index), dims=(0, 1)).contiguous().numpy() for index in range(length)]

    return make


@pytest.fixture(scope="session")
def encode(drifting: Callable[..., Pictures]) -> Callable[..., Path]:
    """Write a file with FFmpeg's own encoders; skips where this build of FFmpeg lacks one.

    Files of the 60 plain frames are encoded once for all tests.
    """
    written: dict[str, bytes] = {}

    def write(path: Path, codec: str, **settings: Any) -> Path:  # noqa: ANN401  (those of `write_anew`)
        if codec not in av.codecs_available:
            pytest.skip(f"this FFmpeg has no encoder {codec}")
        if settings.get("pictures") or settings.get("times"):
            return write_anew(path, codec, **settings)
        key = repr((path.suffix, codec, sorted(settings.items())))
        if key not in written:
            written[key] = write_anew(path, codec, **settings).read_bytes()
        path.write_bytes(written[key])
        return path

    def write_anew(
        path: Path,
        codec: str,
        *,
        pictures: Pictures | None = None,
        pix_fmt: str = "yuv420p",
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
        times: Callable[[int], int] | None = None,
        rotation: tuple[float, bool] = (0, False),
        **settings: int,
    ) -> Path:
        pictures = pictures or drifting(60)
        with av.open(str(path), "w", options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=25, options=options or {})
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = pix_fmt
            stream.codec_context.thread_count = 1
            for name, value in settings.items():
                setattr(stream.codec_context, name, value)
            if rotation != (0, False):
                stream.set_display_rotation(rotation[0], hflip=rotation[1])
            for index, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                if times is not None:
                    frame.pts, frame.time_base = times(index), Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture(scope="session")
def remux() -> Callable[..., Path]:
    """Copy packets, all but those left out, their times moved by some seconds; nothing is encoded anew."""

    def copy(source: Path, target: Path, *, keep: Callable[[int], bool] = lambda _: True, shift: float = 0.0) -> Path:
        with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
            old = reading.streams.video[0]
            new = writing.add_stream_from_template(old)
            ticks = round(shift / old.time_base)
            for number, packet in enumerate(packet for packet in reading.demux(old) if packet.size):
                if keep(number):
                    packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, new
                    writing.mux(packet)
        return target

    return copy


@pytest.fixture(scope="session")
def decode_everything() -> Callable[[Path], Tensor]:
    """All pictures in order, by PyAV's plainest loop: no seek, no index."""

    def decode(path: Path) -> Tensor:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            return torch.stack(
                [torch.from_numpy(frame.to_ndarray(format="rgb24", threads=1)) for frame in container.decode(stream)]
            )

    return decode
