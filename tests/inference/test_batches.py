from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from t3d.data.clips import ScoringClip
from t3d.inference import scoring as batches
from t3d.inference.scoring import score_clips


def _clips(text: str, *, crops: int = 1) -> list[ScoringClip]:
    """A clip a letter; a capital is an error."""
    return [
        ScoringClip(index=index, error="broken")
        if letter.isupper()
        else ScoringClip(index=index, views=torch.full((crops, 3, 2, 4, 4), ord(letter), dtype=torch.uint8))
        for index, letter in enumerate(text)
    ]


def _letters(views: Tensor) -> str:
    return "".join(map(chr, views[:, 0, 0, 0, 0].tolist()))


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("abcdefg", ["abc", "def", "g"]),
        ("abcdef", ["abc", "def"]),
        ("aBcDEfghI", ["acf", "gh"]),
        ("abcD", ["abc"]),
        ("AB", []),
        ("", []),
    ],
)
def test_batches_are_full_of_clips_that_can_be_scored(text: str, calls: list[str]) -> None:
    seen: list[str] = []

    def scorer(views: Tensor) -> Tensor:
        seen.append(_letters(views))
        return views[:, :2, 0, 0, 0].float()

    clips = _clips(text)
    found = [pair for batch in score_clips(clips, scorer, clips_per_batch=3) for pair in batch]
    assert seen == calls
    assert [clip for clip, _ in found] == clips
    for clip, logits in found:
        assert logits.tolist() == ([] if clip.error else [[float(clip.views[0, 0, 0, 0, 0])] * 2])


def test_each_clip_gets_the_logits_of_its_crops() -> None:
    numbers = iter(range(100))

    def scorer(views: Tensor) -> Tensor:
        return torch.tensor([[float(next(numbers))] for _ in views])

    found = [pair for batch in score_clips(_clips("abCd", crops=3), scorer, clips_per_batch=2) for pair in batch]
    assert [logits.flatten().tolist() for _, logits in found] == [[0, 1, 2], [3, 4, 5], [], [6, 7, 8]]


def test_on_the_cpu_a_batch_is_given_back_before_the_next_is_read() -> None:
    read: list[int] = []

    def clips() -> Iterator[ScoringClip]:
        for clip in _clips("abcde"):
            read.append(clip.index)
            yield clip

    for number, _ in enumerate(score_clips(clips(), lambda views: torch.zeros(len(views), 2), clips_per_batch=2)):
        assert read == list(range(min(2 * number + 2, 5)))


def test_a_device_gets_the_next_batch_before_the_last_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With events that only note who waits for them: there may be no such device here."""
    events: list[str] = []

    class Event:
        def __init__(self, name: str) -> None:
            self.name = name

        def synchronize(self) -> None:
            events.append(f"wait {self.name}")

    def send(clips: list[ScoringClip], scorer: object) -> batches._Underway:
        name = _letters(torch.cat([clip.views for clip in clips]))
        events.append(f"send {name}")
        return batches._Underway(clips, torch.zeros(len(clips), 2), Event(name))

    monkeypatch.setattr(batches, "_send", send)
    found = [[clip.index for clip, _ in batch] for batch in score_clips(_clips("abcde"), len, clips_per_batch=2)]
    assert found == [[0, 1], [2, 3], [4]]
    assert events == ["send ab", "send cd", "wait ab", "send e", "wait cd", "wait e"]
