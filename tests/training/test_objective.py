"""What the loop makes of a loss is tested with the loop."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from t3d.data.clips import TrainBatch
from t3d.inference.scoring import aggregate_segments
from t3d.training.objective import Classification
from t3d.video.spec import PixelSpec, SegmentSpec
from t3d.video.transforms import normalise

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
    found = objective.compute_loss(model, batch, torch.device("cpu"))
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
    found = Classification(pixels=pixels).compute_loss(model, still, torch.device("cpu"))
    logs = model.classifier.bias.detach().log_softmax(dim=0)
    assert found.loss.item() == pytest.approx(-sum(float(logs[label]) for label in LABELS), rel=1e-5)


class _Double(nn.Module):
    """Compute in float64, so that equal means equal."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, clips: Tensor) -> Tensor:
        return self.network(clips.double())


def _segmented(num_videos: int = 2, segments: int = 3) -> TrainBatch:
    generator = torch.Generator().manual_seed(1)
    clips = torch.randint(256, (num_videos, segments, 3, 4, 32, 32), generator=generator, dtype=torch.uint8)
    return TrainBatch(clips, torch.arange(num_videos) % 3, [])


RULES = [
    SegmentSpec(segments=3),
    SegmentSpec(segments=3, consensus="max"),
    SegmentSpec(segments=3, consensus="top-k", consensus_top=2),
]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("spec", RULES)
def test_a_video_of_segments_is_judged_by_their_consensus(
    spec: SegmentSpec, recompute: bool, toy_model: Callable[..., nn.Module]
) -> None:
    model, batch = toy_model(), _segmented(num_videos=4)
    objective = Classification(pixels=PIXELS, segments=spec, recompute_segments=recompute)
    found = objective.compute_loss(model, batch, torch.device("cpu"))
    total, hits = 0.0, 0
    for clips, label in zip(batch.clips, batch.labels.tolist(), strict=True):
        scores = aggregate_segments(model(_input(TrainBatch(clips, batch.labels, []))).detach(), spec)
        total -= float(scores.log_softmax(dim=0)[label])
        hits += int(scores.argmax()) == label
    assert found.loss.item() == pytest.approx(total, rel=1e-5)
    assert found.num_correct == hits
    assert batch.num_clips == 4


def _learnt(model: nn.Module, objective: Classification, batch: TrainBatch) -> tuple[dict[str, Tensor], float]:
    """Gradients and statistics after one pass, and the loss."""
    torch.manual_seed(3)  # dropout
    loss = objective.compute_loss(model, batch, torch.device("cpu")).loss
    loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    return {**gradients, **dict(model.named_buffers())}, loss.item()


def _plainly(model: nn.Module, spec: SegmentSpec, batch: TrainBatch) -> tuple[dict[str, Tensor], float]:
    """The same, segment by segment, by a loop that knows of no checkpoints."""
    torch.manual_seed(3)
    parts = [model(normalise(part, PIXELS)) for part in batch.clips.unbind(dim=1)]
    loss = nn.functional.cross_entropy(
        aggregate_segments(torch.stack(parts, dim=1), spec), batch.labels, reduction="sum"
    )
    loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    return {**gradients, **dict(model.named_buffers())}, loss.item()


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("spec", RULES)
def test_recomputed_segments_learn_as_a_plain_loop_does(
    spec: SegmentSpec, momentum: float | None, micro_model: Callable[..., nn.Module]
) -> None:
    """Dropout repeats itself, and batch norm counts each segment once."""
    results = []
    for recompute in (True, False):
        model = _Double(micro_model(dropout=0.3)).train()
        for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm3d)):
            norm.momentum = momentum
        objective = Classification(pixels=PIXELS, segments=spec, recompute_segments=True)
        results.append(_learnt(model, objective, _segmented()) if recompute else _plainly(model, spec, _segmented()))
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm3d)]
        assert {(int(norm.num_batches_tracked), norm.momentum) for norm in norms} == {(3, momentum)}
    (found, loss), (expected, plain_loss) = results
    assert loss == pytest.approx(plain_loss, rel=1e-12)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12, msg=name)


def test_with_frozen_statistics_recomputing_changes_nothing(micro_model: Callable[..., nn.Module]) -> None:
    results = []
    for recompute in (True, False):
        objective = Classification(pixels=PIXELS, segments=RULES[2], recompute_segments=recompute)
        results.append(_learnt(_Double(micro_model()).eval(), objective, _segmented()))
    (found, loss), (expected, joint_loss) = results
    assert loss == pytest.approx(joint_loss, rel=1e-12)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12, msg=name)


def test_all_segments_of_a_pass_are_normalised_together(micro_model: Callable[..., nn.Module]) -> None:
    """The joint pass is one batch of all clips; segment by segment is not."""
    batch = _segmented()
    joint, single = _Double(micro_model()).train(), _Double(micro_model()).train()
    flat = joint(normalise(batch.clips.flatten(0, 1), PIXELS)).view(2, 3, 3).mean(dim=1)
    expected = nn.functional.cross_entropy(flat, batch.labels, reduction="sum").item()
    losses = {
        recompute: _learnt(
            single, Classification(pixels=PIXELS, segments=RULES[0], recompute_segments=recompute), batch
        )[1]
        for recompute in (False, True)
    }
    assert losses[False] == pytest.approx(expected, rel=1e-12)
    assert losses[True] != pytest.approx(expected, rel=1e-6)


def test_recomputing_holds_the_clips_until_backward_and_no_activations(micro_model: Callable[..., nn.Module]) -> None:
    def held_bytes(*, recompute: bool) -> int:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        objective = Classification(pixels=PIXELS, segments=RULES[0], recompute_segments=recompute)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            objective.compute_loss(micro_model().train(), _segmented(), torch.device("cpu"))
        return sum(sizes)

    clips_bytes = _segmented().clips.nbytes
    assert clips_bytes <= held_bytes(recompute=True) < clips_bytes + 1000  # and a few logits
    assert held_bytes(recompute=False) > 5 * clips_bytes
