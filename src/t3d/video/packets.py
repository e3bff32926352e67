"""The packet index of a video file: presentation times of all frames, and packets where decoding can start.

Nothing is decoded. Reading packets is far cheaper than decoding, and if frames are stored in display order, the table
in the header of an MP4 file is enough. If packets cannot be trusted, there is no index, and the reader counts decoded
frames instead. A GIF or MPEG stream cut between two frames is not detected, because it does not state its length.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from t3d.errors import DecodeError

# Containers that store presentation times, and codecs whose every packet holds exactly one frame to show. AVI has no
# such times; MPEG-4 part 2, VP8 and others have packets without a frame.
_TRUSTED_CONTAINERS = frozenset({"mov", "matroska"})
_TRUSTED_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "mjpeg", "ffv1", "prores"})
_SHORTFALL = 0.1  # of the stated length; less is rounding, or a stream that ends before the others
_ENTRY_BYTES = 200  # of memory, its numbers included


@dataclass(frozen=True)
class Entry:
    """A packet where decoding can start."""

    first_frame: int
    """Index of the first frame that can be decoded from here."""
    pts: int
    dts: int | None


@dataclass(frozen=True)
class PacketIndex:
    """Times of all frames, and entries for decoding; times in units of the stream's time base."""

    timestamps: Sequence[int]
    """Strictly ascending, one for each frame."""
    entries: tuple[Entry, ...]
    """Ascending; the first reaches frame 0."""

    @property
    def num_bytes(self) -> int:
        """Approximate size in memory."""
        return 8 * len(self.timestamps) + _ENTRY_BYTES * len(self.entries)

    def entry_before(self, index: int) -> Entry:
        """Last entry from which decoding reaches this frame."""
        return self.entries[bisect_right(self.entries, index, key=lambda entry: entry.first_frame) - 1]


def read_packet_index(container: InputContainer, stream: VideoStream, name: str) -> PacketIndex | None:
    """Read all packets of a newly opened file, or their table; None if they do not determine the frames.

    Raises:
        DecodeError: A packet is incomplete, or the file ends long before its stated end: it is truncated or damaged.
    """
    if _is_trusted(container, stream) and (packets := _listed_packets(container, stream)):
        return _index(packets)
    packets = _read_packets(container, stream, name)
    return _index(packets) if _is_trusted(container, stream) else None


def damaged(name: str, index: int, total: int | None) -> DecodeError:
    """The error for a frame missing in a truncated or damaged file."""
    of_all = "" if total is None else f" of {total}"
    return DecodeError(
        f"{name}: frame {index}{of_all} cannot be decoded (truncated or damaged file); re-encode or remove it"
    )


class _Packet(NamedTuple):
    """A packet without its data, which would be the whole file."""

    pts: int | None
    dts: int | None
    is_keyframe: bool
    is_shown: bool


def _read_packets(container: InputContainer, stream: VideoStream, name: str) -> list[_Packet]:
    packets: list[_Packet] = []
    end_seconds = 0.0
    try:
        for packet in container.demux():
            if packet.pts is not None and packet.time_base:
                end_seconds = max(end_seconds, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index != stream.index:
                continue
            if packet.is_corrupt:
                raise damaged(name, len(packets), max(stream.frames, len(packets) + 1))
            if packet.size:
                packets.append(_Packet(packet.pts, packet.dts, packet.is_keyframe, not packet.is_discard))
    except av.error.FFmpegError as error:
        raise damaged(name, len(packets), max(stream.frames, len(packets) + 1)) from error
    if _kind(container) == "mov" and _is_cut(container, stream):  # between two packets, so that none is corrupt
        raise damaged(name, len(packets), max(stream.frames, len(packets) + 1))
    share = _share_read(container, stream, len(packets), end_seconds)
    if share < 1 - _SHORTFALL:
        raise damaged(name, len(packets), round(len(packets) / share) if packets else None)
    return packets


def _listed_packets(container: InputContainer, stream: VideoStream) -> list[_Packet]:
    """Packets from the table of an MP4 file; empty if the table is not sufficient and packets must be read.

    The table has decoding times only. They equal presentation times if frames are stored in display order.
    """
    entries = list(stream.index_entries)
    if _kind(container) != "mov" or stream.codec_context.has_b_frames or len(entries) != stream.frames:
        return []
    if _is_cut(container, stream) or any(entry.is_discard for entry in entries):
        return []  # cut by an edit list, or missing: reading determines which
    return [_Packet(entry.timestamp, entry.timestamp, entry.is_keyframe, is_shown=True) for entry in entries]


def _is_cut(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the table of an MP4 file refers to packets beyond its end."""
    return any(entry.pos + entry.size > container.size for entry in stream.index_entries)


def _share_read(container: InputContainer, stream: VideoStream, num_packets: int, end_seconds: float) -> float:
    """Fraction of the stated length that exists; 1 for formats that report a missing end themselves."""
    kind = _kind(container)
    if kind == "avi" and stream.frames:
        return num_packets / stream.frames
    if kind == "matroska" and container.duration:
        return end_seconds * av.time_base / container.duration
    return 1.0


def _kind(container: InputContainer) -> str:
    return container.format.name.split(",")[0]


def _is_trusted(container: InputContainer, stream: VideoStream) -> bool:
    return _kind(container) in _TRUSTED_CONTAINERS and stream.codec.canonical_name in _TRUSTED_CODECS


def _index(packets: list[_Packet]) -> PacketIndex | None:
    keys = [(packet.pts, packet.dts) for packet in packets if packet.is_keyframe and packet.pts is not None]
    shown = [packet.pts for packet in packets if packet.is_shown and packet.pts is not None]
    complete = len(shown) == sum(packet.is_shown for packet in packets) == len(set(shown)) > 0
    if not complete or not packets[0].is_keyframe or packets[0].pts is None:
        return None
    # Frames shown before the first keyframe depend on frames outside the file: decoders do not return them.
    timestamps = tuple(sorted(pts for pts in shown if pts >= packets[0].pts))
    if not timestamps:
        return None
    return PacketIndex(
        array("q", timestamps), tuple(Entry(bisect_left(timestamps, pts), pts, dts) for pts, dts in sorted(keys))
    )
