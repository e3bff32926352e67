from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from t3d.data.samples import Sample
from t3d.errors import DecodeError
from t3d.inference.scorer import torch_scorer
from t3d.inference.scoring import VideoScores, score_videos
from t3d.models.checkpoints import ModelCard
from t3d.video.reader import ArrayVideo
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
    scorer = torch_scorer(model, PIXELS)
    return list(score_videos(scorer, samples, card=_card(CLIP), views=views, source=source, **options))


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


class Recorder:
    """Mean colour of each view, and how many views came at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, clips: Tensor) -> Tensor:
        self.sizes.append(len(clips))
        return clips.float().mean(dim=(2, 3, 4))


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize(
    ("views", "sizes"),
    [
        ({"batch_size": 3}, [3, 3, 2]),  # four videos of two clips
        ({"batch_size": 8}, [8]),
        ({"batch_size": 1}, [1] * 8),
        ({"batch_size": 5, "crops": 3, "clips": 1}, [3, 3, 3, 3]),  # two clips would be six views
        ({"batch_size": 6, "crops": 3}, [6, 6, 6, 6]),
        ({"batch_size": 2, "crops": 3, "clips": 1}, [3, 3, 3, 3]),  # a clip's crops stay together
    ],
)
def test_clips_of_several_videos_fill_a_batch(
    views: dict[str, int], sizes: list[int], num_workers: int, samples: Samples, open_noise: OpenNoise
) -> None:
    scorer = Recorder()
    videos = samples(NAMES)
    options = {"card": _card(CLIP), "views": ViewSpec(**views), "source": open_noise, "read": lambda output: output}
    found = list(score_videos(scorer, videos, num_workers=num_workers, **options))
    assert scorer.sizes == sizes
    assert [video.sample.name for video in found] == NAMES
    for video in found:
        if not video.error:
            (alone,) = score_videos(Recorder(), [video.sample], **options)
            assert torch.equal(video.clip_scores, alone.clip_scores)
            assert (video.frames, video.num_clips, video.fps) == (alone.frames, alone.num_clips, alone.fps)


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_batches_change_scores_by_rounding_only(
    batch_size: int, model: nn.Module, samples: Samples, open_noise: OpenNoise
) -> None:
    """To a millionth of the largest logit; with a batch of one, not at all."""
    videos = samples(NAMES)
    plain = {"read": lambda output: output, "clips": 3}
    together = _score(model, videos, open_noise, batch_size=batch_size, **plain)
    alone = [_score(model, [video], open_noise, batch_size=1, **plain)[0] for video in videos]
    exact = _score(model, videos, open_noise, batch_size=1, **plain)
    for one, other, same in zip(alone, together, exact, strict=True):
        assert one.error == other.error == same.error
        assert one.frames == other.frames
        if not one.error:
            largest = float(one.clip_scores.abs().max())
            torch.testing.assert_close(other.clip_scores, one.clip_scores, rtol=0, atol=1e-6 * largest)
            assert torch.equal(one.clip_scores, same.clip_scores)


def test_what_shares_a_batch_with_a_video_changes_nothing(
    model: nn.Module, samples: Samples, open_noise: OpenNoise
) -> None:
    first, *_ = _score(model, samples(["a.mp4", "b.mp4", "c.mp4"]), open_noise, batch_size=6)
    *_, last = _score(model, samples(["d.mp4", "e.mp4", "a.mp4"]), open_noise, batch_size=6)
    assert torch.equal(first.clip_scores, last.clip_scores)


def test_no_more_is_decoded_than_a_batch_needs(samples: Samples, open_noise: OpenNoise) -> None:
    opened: list[str] = []

    def watch(path: Path) -> ArrayVideo:
        opened.append(path.name)
        return open_noise(path)

    names = [f"{number}.mp4" for number in range(9)]
    scored = score_videos(
        Recorder(), samples(names), card=_card(CLIP), views=ViewSpec(clips=1, batch_size=4), source=watch
    )
    for number in range(9):
        assert next(scored).sample.name == names[number]
        assert len(opened) == min(4 * (number // 4 + 1), 9)


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


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_a_video_that_breaks_in_its_middle_disturbs_no_other(
    batch_size: int, num_workers: int, model: nn.Module, samples: Samples
) -> None:
    """Its first clip shares a batch with others, or has been scored already: nothing of it stays."""
    names = ["a.mp4", "broken.mp4", "b.mp4", "broken too.mp4"]
    results = _score(model, samples(names), _open_breaking, batch_size=batch_size, num_workers=num_workers)
    assert [video.sample.name for video in results] == names
    assert [video.error for video in results] == [
        "",
        "broken.mp4: frame 4 is damaged",
        "",
        "broken too.mp4: frame 4 is damaged",
    ]
    for video in results:
        assert len(video.frames) == len(video.parts) == (0 if video.error else 3)
        if not video.error:
            (alone,) = _score(model, [video.sample], _open_breaking, batch_size=1)
            torch.testing.assert_close(video.clip_scores, alone.clip_scores, rtol=0, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_device_of_its_own_gives_the_same(model: nn.Module, samples: Samples, open_noise: OpenNoise) -> None:
    """Where the next batch is sent off before the last one's scores are there."""
    videos = samples([*NAMES, "broken.mp4"])
    expected = _score(model, videos, open_noise, batch_size=3)
    found = _score(model.cuda(), videos, open_noise, batch_size=3)
    for one, other in zip(expected, found, strict=True):
        assert (one.error, one.frames) == (other.error, other.frames)
        if not one.error:
            torch.testing.assert_close(one.clip_scores, other.clip_scores, rtol=1e-3, atol=1e-3)  # TF32


def test_shuffled_frames_depend_on_the_file_only(model: nn.Module, samples: Samples, open_noise: OpenNoise) -> None:
    """The control's score of a video is the same alone and anywhere in a list, and differs from the plain one."""

    def score(names: list[str], order: str) -> dict[str, Tensor]:
        card = _card(ClipSpec(num_frames=4, order=order))
        found = score_videos(
            torch_scorer(model, PIXELS), samples(names), card=card, views=ViewSpec(), source=open_noise
        )
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
    scorer = torch_scorer(model, PIXELS)
    return list(score_videos(scorer, samples, card=card, views=ViewSpec(**views), source=source))


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
    assert [len(video.logits) for video in (*whole, *parts)] == [3, 3, 3, 3]
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one.scores, other.scores)
    broken, fine = _score_segments(model, samples(["broken.mp4", "a.mp4"]), _open_breaking, batch_size=1)
    assert (broken.logits, broken.parts, broken.error) == ([], [], "broken.mp4: frame 4 is damaged")
    assert len(fine.logits) == 2


def test_one_clip_a_segment_is_scored_as_ever(model: nn.Module, samples: Samples, open_noise: OpenNoise) -> None:
    (plain,) = _score(model, samples(["a.mp4"]), open_noise)
    assert plain.logits == []
    assert torch.equal(plain.scores, plain.clip_scores.mean(dim=0))
