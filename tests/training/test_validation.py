import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from t3d.data.clips import OpenVideo
from t3d.data.samples import VideoList
from t3d.models.checkpoints import ModelCard
from t3d.training.loop import Learner
from t3d.training.validation import Validator
from t3d.video.decode import VideoReader
from t3d.video.spec import SegmentSpec

MakeLearner = Callable[..., Learner]


@pytest.fixture
def validator(card: ModelCard, videos: Callable[..., VideoList], open_noise: OpenVideo) -> Callable[..., Validator]:
    return lambda names, num_workers=0: Validator(videos(names), card, num_workers=num_workers, source=open_noise)


def _log_scores(model: nn.Module, video: VideoReader) -> torch.Tensor:
    """Of the centred clip of eleven frames, 3 to 6, cropped to columns 2 to 33."""
    pictures = video.frames(range(3, 7))[:, :, 2:34].permute(3, 0, 1, 2)[None].float() / 255
    with torch.no_grad():
        return model.eval()((pictures - 0.45) / 0.225)[0].log_softmax(dim=0)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loss_and_top1_by_hand(
    num_workers: int,
    videos: Callable[..., VideoList],
    validator: Callable[..., Validator],
    micro_model: Callable[..., nn.Module],
    learner: MakeLearner,
    open_noise: OpenVideo,
) -> None:
    names = ["a.mp4", "b.mp4", "c.mp4", "bad.mp4", "d.mp4"]
    found = validator(names, num_workers)(learner(micro_model()))
    losses, hits = [], []
    for sample in videos(names).samples:
        if sample.name == "bad.mp4":  # as good as a guess among three, and wrong
            losses.append(math.log(3))
            hits.append(False)
            continue
        log_scores = _log_scores(micro_model(), open_noise(sample.path))
        losses.append(-float(log_scores[sample.label]))
        hits.append(int(log_scores.argmax()) == sample.label)
    assert found == pytest.approx((sum(losses) / 5, sum(hits) / 5), rel=1e-5)


def test_the_average_is_what_is_judged(
    validator: Callable[..., Validator], micro_model: Callable[..., nn.Module], learner: MakeLearner
) -> None:
    averaged = learner(micro_model(), ema_decay=0.9)
    judge = validator(["a.mp4", "b.mp4"])
    before = judge(averaged)
    with torch.no_grad():
        averaged.network.classifier.bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    assert judge(averaged) == before
    with torch.no_grad():
        averaged.result.classifier.bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    assert judge(averaged) != before


def test_judging_changes_nothing(
    validator: Callable[..., Validator], micro_model: Callable[..., nn.Module], learner: MakeLearner
) -> None:
    judged = learner(micro_model())
    before = {name: value.clone() for name, value in judged.network.state_dict().items()}
    validator(["a.mp4"])(judged)
    assert all(torch.equal(before[name], value) for name, value in judged.network.state_dict().items())


def test_a_sure_mistake_is_not_infinitely_bad(
    validator: Callable[..., Validator], micro_model: Callable[..., nn.Module], learner: MakeLearner
) -> None:
    sure = learner(micro_model())
    with torch.no_grad():
        sure.network.classifier.bias.copy_(torch.tensor([-1e4, 1e4, 0.0]))
    loss, top1 = validator(["a.mp4"])(sure)
    assert (loss, top1) == (pytest.approx(-math.log(1e-12)), 0.0)


def test_segments_are_judged_by_their_consensus(
    card: ModelCard,
    videos: Callable[..., VideoList],
    micro_model: Callable[..., nn.Module],
    learner: MakeLearner,
    open_noise: OpenVideo,
) -> None:
    """Two segments of eleven frames: the centred clips start at frames 0 and 6."""
    names = ["a.mp4", "b.mp4", "c.mp4"]
    segments = replace(card, segments=SegmentSpec(segments=2))
    found = Validator(videos(names), segments, num_workers=0, source=open_noise)(learner(micro_model()))
    model, losses, hits = micro_model().eval(), [], []
    for sample in videos(names).samples:
        pictures = open_noise(sample.path).frames(range(11))[:, :, 2:34].permute(3, 0, 1, 2).float() / 255
        clips = torch.stack([pictures[:, 0:4], pictures[:, 6:10]])
        with torch.no_grad():
            log_scores = model((clips - 0.45) / 0.225).mean(dim=0).log_softmax(dim=0)
        losses.append(-float(log_scores[sample.label]))
        hits.append(int(log_scores.argmax()) == sample.label)
    assert found == pytest.approx((sum(losses) / 3, sum(hits) / 3), rel=1e-5)
