"""Clips of any videos through a scorer, several at a time. What a video's score is made of is not known here."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from t3d.data.clips import ScoringClip
from t3d.engine.scorer import Scorer

ScoredClip = tuple[ScoringClip, Tensor]
"""A clip and its logits (crops, K), on the CPU; a clip that is an error has none: (0, 0)."""


class _Underway(NamedTuple):
    """A batch that has been sent off."""

    clips: list[ScoringClip]
    logits: Tensor
    """(views, K), on the CPU; not to be read before `arrived`."""
    arrived: torch.cuda.Event | None
    """None where there is nothing to wait for."""


def score_clips(clips: Iterable[ScoringClip], scorer: Scorer, *, clips_per_batch: int) -> Iterator[list[ScoredClip]]:
    """Score clips in the order in which they come; every batch is full but the last.

    Clips that are errors go along in their places. A device of its own is given the next batch before the last one is
    waited for.

    Args:
        clips: Of any videos, all with equally many crops.
        scorer: What makes logits of clips.
        clips_per_batch: Clips in one call of the scorer.
    """
    underway: deque[_Underway] = deque()
    for batch in _batches(clips, clips_per_batch):
        underway.append(_send(batch, scorer))
        while underway and (underway[0].arrived is None or len(underway) > 1):
            yield _wait(underway.popleft())
    yield from map(_wait, underway)


def _batches(clips: Iterable[ScoringClip], clips_per_batch: int) -> Iterator[list[ScoringClip]]:
    batch: list[ScoringClip] = []
    for clip in clips:
        batch.append(clip)
        if sum(member.views is not None for member in batch) == clips_per_batch:
            yield batch
            batch = []
    if batch:
        yield batch


def _send(clips: list[ScoringClip], scorer: Scorer) -> _Underway:
    views = [clip.views for clip in clips if clip.views is not None]
    if not views:
        return _Underway(clips, torch.empty(0, 0), None)
    logits = scorer(torch.cat(views))
    on_cpu = logits.to("cpu", non_blocking=logits.is_cuda)
    arrived = None
    if logits.is_cuda:
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(logits.device))
    return _Underway(clips, on_cpu, arrived)


def _wait(batch: _Underway) -> list[ScoredClip]:
    if batch.arrived is not None:
        batch.arrived.synchronize()
    sizes = [0 if clip.views is None else len(clip.views) for clip in batch.clips]
    return list(zip(batch.clips, batch.logits.split(sizes), strict=True))
