"""What the loop makes of a loss is tested with the loop."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from t3d.data.clips import TrainBatch
from t3d.engine.classification import Classification
from t3d.video.spec import PixelSpec

PIXELS = PixelSpec(resize=8, crop_size=8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2))
LABELS = [2, 0, 1, 1, 0]


def _batch() -> TrainBatch:
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(256, (5, 3, 4, 8, 8), generator=generator, dtype=torch.uint8)
    return TrainBatch(clips, torch.tensor(LABELS), [])


def _input(batch: TrainBatch) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (PIXELS.mean, PIXELS.std))
    return (batch.clips / 255 - mean) / std


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_a_sum_over_clips(
    weights: list[float] | None, smoothing: float, toy_model: Callable[..., nn.Module]
) -> None:
    model, batch = toy_model(), _batch()
    objective = Classification(
        pixels=PIXELS, label_smoothing=smoothing, class_weights=None if weights is None else torch.tensor(weights)
    )
    found = objective.judge(model, batch, torch.device("cpu"))
    total, hits = 0.0, 0
    for clip, label in zip(_input(batch), LABELS, strict=True):
        (scores,) = model(clip[None]).detach()
        logs = (scores.double() - scores.double().logsumexp(dim=0)).tolist()
        for number, log in enumerate(logs):
            target = smoothing / 3 + (1 - smoothing) * (number == label)
            total -= target * log * (1.0 if weights is None else weights[number])
        hits += logs.index(max(logs)) == label
    assert found.loss.item() == pytest.approx(total, rel=1e-5)
    assert found.num_correct == hits
    assert found.loss.requires_grad


def test_what_the_network_sees_is_of_its_modality(toy_model: Callable[..., nn.Module]) -> None:
    """Where nothing moves, changes are zero, and only the bias is left to score by."""
    model, batch = toy_model(), _batch()
    still = batch._replace(clips=batch.clips[:, :, :1].expand(-1, -1, 4, -1, -1))
    pixels = PixelSpec(resize=8, crop_size=8, modality="difference")
    found = Classification(pixels=pixels).judge(model, still, torch.device("cpu"))
    logs = model.classifier.bias.detach().log_softmax(dim=0)
    assert found.loss.item() == pytest.approx(-sum(float(logs[label]) for label in LABELS), rel=1e-5)
