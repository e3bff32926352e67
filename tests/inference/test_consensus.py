import pytest
import torch

from t3d.inference.scoring import aggregate_segments
from t3d.video.spec import SegmentSpec

LOGITS = torch.tensor([[3.0, -1.0], [6.0, 5.0], [0.0, 2.0]], dtype=torch.float64)
"""Of three segments, for two classes."""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (SegmentSpec(segments=3), [3.0, 2.0]),
        (SegmentSpec(segments=3, consensus="max"), [6.0, 5.0]),
        (SegmentSpec(segments=3, consensus="top-k", consensus_top=1), [6.0, 5.0]),
        (SegmentSpec(segments=3, consensus="top-k"), [(2 * 6 + 3) / 3, (2 * 5 + 2) / 3]),
        (
            SegmentSpec(segments=3, consensus="top-k", consensus_top=3),
            [(3 * 6 + 2 * 3 + 0) / 6, (3 * 5 + 2 * 2 - 1) / 6],
        ),
    ],
)
def test_each_rule_by_hand(spec: SegmentSpec, expected: list[float]) -> None:
    assert aggregate_segments(LOGITS, spec).tolist() == pytest.approx(expected)
    both = aggregate_segments(torch.stack([LOGITS, LOGITS.flip(0) + 1]), spec)  # of two videos, in any order
    torch.testing.assert_close(both, torch.tensor([expected, [value + 1 for value in expected]], dtype=torch.float64))


def test_all_clips_count_where_there_are_fewer_than_k() -> None:
    spec = SegmentSpec(segments=3, consensus="top-k", consensus_top=3)
    assert aggregate_segments(LOGITS[:2], spec).tolist() == pytest.approx([(2 * 6 + 3) / 3, (2 * 5 - 1) / 3])
    assert torch.equal(aggregate_segments(LOGITS[:1], spec), LOGITS[0])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (SegmentSpec(segments=3), [[1 / 3, 1 / 3]] * 3),
        (SegmentSpec(segments=3, consensus="max"), [[0, 0], [1, 1], [0, 0]]),
        (SegmentSpec(segments=3, consensus="top-k"), [[1 / 3, 0], [2 / 3, 2 / 3], [0, 1 / 3]]),
    ],
)
def test_gradients_reach_the_segments_that_count(spec: SegmentSpec, expected: list[list[float]]) -> None:
    logits = LOGITS.clone().requires_grad_()
    aggregate_segments(logits, spec).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor(expected, dtype=torch.float64))
