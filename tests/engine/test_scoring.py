from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from t3d.data.samples import Sample
from t3d.engine.checkpoints import ModelCard
from t3d.engine.scoring import VideoScores, score_videos
from t3d.errors import DecodeError
from t3d.video.arrays import ArrayVideo
from t3d.video.spec import ClipSpec, PixelSpec, SegmentSpec, ViewSpec

CLIP = ClipSpec(num_frames=4)
PIXELS = PixelSpec(resize=32, crop_size=32)
LABELS = ("clap", "run", "wave")
NAMES = ["a.mp4", "b.mp4", "bad.mp4", "c.mp4", "d.mp4"]

Samples = Callable[..., tuple[Sample, ...]]
OpenNoise = Callable[[Path], ArrayVideo]


class BreaksAfter(ArrayVideo):
    """Cannot decode frame 4 and later ones: the first clip is fine, the second is not."""

    def frames(self, indices: Sequence[int] | Tensor) -> Tensor:
        if max(int(index) for index in indices) >= 4:
            raise DecodeError(f"{self.name}: frame 4 is damaged")
        return super().frames(indices)


def _open_breaking(path: Path) -> ArrayVideo:
    pictures = torch.full((12, 32, 32, 3), sum(map(ord, path.name)) % 256, dtype=torch.uint8)
    return (BreaksAfter if "broken" in path.name else ArrayVideo)(pictures, name=path.name)


def _card(clip: ClipSpec, **options: int | str) -> ModelCard:
    segments = SegmentSpec(**options)
    return ModelCard(arch="t3d_tiny", overrides={}, labels=LABELS, clip=clip, pixels=PIXELS, segments=segments)


def _score(model: nn.Module, samples: Sequence[Sample], source: OpenNoise, **options: object) -> list[VideoScores]:
    views = ViewSpec(**{name: options.pop(name) for name in ("clips", "crops", "batch_size") if name in options})
    return list(score_videos(model, samples, card=_card(CLIP), views=views, source=source, **options))


@pytest.fixture
def model(micro_model: Callable[..., nn.Module]) -> nn.Module:
    return micro_model().eval()


def test_a_videos_score_is_the_mean_softmax_of_its_clips(
    model: nn.Module, samples: Samples, open_noise: OpenNoise
) -> None:
    """Eleven frames of 32 x 36 pixels: clips of frames 0-3 and 4-7, columns 2 to 33."""
    (video,) = _score(model, samples(["a.mp4"]), open_noise)
    pictures = open_noise(Path("a.mp4")).frames(range(11)).float()[:, :, 2:34] / 255  # (T, H, W, C)
    clips = torch.stack([pictures[0:4], pictures[4:8]]).permute(0, 4, 1, 2, 3)
    with torch.no_grad():
        expected = torch.stack([model(((clip - 0.45) / 0.225)[None])[0].softmax(dim=0) for clip in clips])
    torch.testing.assert_close(video.clip_scores, expected)
    torch.testing.assert_close(video.scores, (expected[0] + expected[1]) / 2)
    assert video.frames == [(0, 3), (4, 7)]
    assert (video.num_clips, video.fps, video.error) == (2, 25.0, "")


def test_three_crops_are_three_views_of_each_clip(model: nn.Module, samples: Samples, open_noise: OpenNoise) -> None:
    (video,) = _score(model, samples(["a.mp4"]), open_noise, clips=1, crops=3)
    pictures = open_noise(Path("a.mp4")).frames(range(3, 7)).float() / 255  # the centred clip
    with torch.no_grad():
        expected = [
            model(((pictures[:, :, left : left + 32] - 0.45) / 0.225).permute(3, 0, 1, 2)[None])[0].softmax(dim=0)
            for left in (0, 2, 4)
        ]
    torch.testing.assert_close(video.clip_scores, torch.stack(expected))
    assert video.frames == [(3, 6)]


def test_chunks_do_not_change_what_is_scored(model: nn.Module, samples: Samples, open_noise: OpenNoise) -> None:
    whole, parts = (_score(model, samples(["a.mp4", "b.mp4"]), open_noise, clips=5, batch_size=size) for size in (8, 2))
    for one, other in zip(whole, parts, strict=True):
        assert one.frames == other.frames
        torch.testing.assert_close(one.clip_scores, other.clip_scores)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_no_digit_and_no_order(
    num_workers: int, model: nn.Module, samples: Samples, open_noise: OpenNoise
) -> None:
    videos = samples(NAMES)
    alone = _score(model, videos, open_noise, batch_size=1)
    shared = _score(model, videos, open_noise, batch_size=1, num_workers=num_workers)
    assert [video.sample.name for video in shared] == NAMES
    for one, other in zip(alone, shared, strict=True):
        assert one.error == other.error
        assert one.frames == other.frames
        assert one.error or torch.equal(one.clip_scores, other.clip_scores)


def test_an_undecodable_video_is_kept_with_its_error(model: nn.Module, samples: Samples, open_noise: OpenNoise) -> None:
    results = _score(model, samples(NAMES), open_noise)
    assert [video.error for video in results] == ["", "", "/nowhere/bad.mp4: truncated", "", ""]
    assert results[2].parts == []


def test_an_error_after_the_first_chunk_takes_its_scores_back(model: nn.Module, samples: Samples) -> None:
    results = _score(model, samples(["a.mp4", "broken.mp4", "b.mp4"]), _open_breaking, batch_size=1)
    assert [video.error for video in results] == ["", "broken.mp4: frame 4 is damaged", ""]
    assert (results[1].parts, results[1].frames, results[1].complete) == ([], [], True)
    assert [len(video.frames) for video in results] == [3, 0, 3]


def test_shuffled_frames_depend_on_the_file_only(model: nn.Module, samples: Samples, open_noise: OpenNoise) -> None:
    """The control's score of a video is the same alone and anywhere in a list, and differs from the plain one."""

    def score(names: list[str], order: str) -> dict[str, Tensor]:
        card = _card(ClipSpec(num_frames=4, order=order))
        found = score_videos(model, samples(names), card=card, views=ViewSpec(), source=open_noise)
        return {video.sample.name: video.clip_scores for video in found}

    together, alone = score(["b.mp4", "c.mp4", "a.mp4"], "shuffled"), score(["a.mp4"], "shuffled")
    assert torch.equal(together["a.mp4"], alone["a.mp4"])
    assert not torch.allclose(alone["a.mp4"], score(["a.mp4"], "forward")["a.mp4"])


def test_no_gradients_are_kept(model: nn.Module, samples: Samples, open_noise: OpenNoise) -> None:
    (video,) = _score(model, samples(["a.mp4"]), open_noise)
    assert not video.scores.requires_grad
    assert video.scores.dtype == torch.float32


def test_no_videos_give_no_scores(model: nn.Module, open_noise: OpenNoise) -> None:
    assert _score(model, [], open_noise, num_workers=2) == []


@pytest.mark.parametrize(
    ("views", "text"),
    [
        (ViewSpec(), "non-overlapping clips x centre crop"),
        (ViewSpec(step=8), "clips 8 frames apart x centre crop"),
        (ViewSpec(clips=10, crops=3), "10 evenly spaced clips x 3 crops"),
        (ViewSpec(segments=3), "3 segments x centre crop"),
    ],
)
def test_views_say_what_they_are(views: ViewSpec, text: str) -> None:
    assert str(views) == text


def test_what_is_read_of_the_output_is_the_callers_choice(
    model: nn.Module, samples: Samples, open_noise: OpenNoise
) -> None:
    """The mean of what is read of each clip, not what is read of the mean."""
    (plain,) = _score(model, samples(["a.mp4"]), open_noise, read=lambda output: output)
    (squared,) = _score(model, samples(["a.mp4"]), open_noise, read=torch.square)
    (shares,) = _score(model, samples(["a.mp4"]), open_noise)
    assert len(plain.clip_scores) == 2
    torch.testing.assert_close(plain.clip_scores.softmax(dim=1), shares.clip_scores)
    assert not torch.allclose(plain.clip_scores.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(squared.scores, plain.clip_scores.square().mean(dim=0))


def _score_segments(model: nn.Module, samples: Sequence[Sample], source: OpenNoise, **views: int) -> list[VideoScores]:
    card = _card(CLIP, segments=2, consensus="max")
    return list(score_videos(model, samples, card=card, views=ViewSpec(**views), source=source))


@pytest.mark.parametrize(
    ("views", "starts"),
    [
        ({}, [0, 6]),  # segments of frames 0-4 and 5-10, in which a clip has one start and three
        ({"segments": 1}, [3]),
        ({"clips": 3}, [0, 4, 7]),
        ({"step": 4}, [0, 4]),
    ],
)
def test_a_videos_score_is_the_softmax_of_its_segments_consensus(
    views: dict[str, int], starts: list[int], model: nn.Module, samples: Samples, open_noise: OpenNoise
) -> None:
    (video,) = _score_segments(model, samples(["a.mp4"]), open_noise, **views)
    pictures = open_noise(Path("a.mp4")).frames(range(11)).float()[:, :, 2:34].permute(3, 0, 1, 2) / 255
    with torch.no_grad():
        logits = torch.cat([model(((pictures[:, start : start + 4] - 0.45) / 0.225)[None]) for start in starts])
    assert [first for first, _ in video.frames] == starts
    torch.testing.assert_close(video.scores, logits.max(dim=0).values.softmax(dim=0))
    torch.testing.assert_close(video.clip_scores, logits.softmax(dim=1))  # of a clip by itself


def test_chunks_do_not_change_a_consensus_and_errors_take_it_back(
    model: nn.Module, samples: Samples, open_noise: OpenNoise
) -> None:
    videos = samples(["a.mp4", "b.mp4"])
    whole, parts = (_score_segments(model, videos, open_noise, segments=3, batch_size=size) for size in (8, 2))
    assert [len(video.logits) for video in (*whole, *parts)] == [1, 1, 2, 2]
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one.scores, other.scores)
    broken, fine = _score_segments(model, samples(["broken.mp4", "a.mp4"]), _open_breaking, batch_size=1)
    assert (broken.logits, broken.parts, broken.error) == ([], [], "broken.mp4: frame 4 is damaged")
    assert len(fine.logits) == 2


def test_one_clip_a_segment_is_scored_as_ever(model: nn.Module, samples: Samples, open_noise: OpenNoise) -> None:
    (plain,) = _score(model, samples(["a.mp4"]), open_noise)
    assert plain.logits == []
    assert torch.equal(plain.scores, plain.clip_scores.mean(dim=0))
