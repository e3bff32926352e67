import pytest
import torch
from torch import Tensor

from t3d.errors import CheckpointError
from t3d.inference.export import Check, Parity, compare, noise_clips

EXPECTED = torch.tensor([[1.0, 2.0], [-4.0, 0.0], [0.5, 0.25]])


def _check(*, difference: float, agreement: float = 0.0) -> Check:
    clips = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1, 1)
    tolerance = Parity(difference=difference, agreement=agreement)
    return Check(reference=lambda clips: EXPECTED[clips.flatten().long()], clips=clips, tolerance=tolerance)


def _off(clips: Tensor) -> Tensor:
    """Wrong by 0.3 in one logit, which changes the likeliest class of the last clip."""
    found = EXPECTED.clone()
    found[2, 1] += 0.3
    return found[clips.flatten().long()]


def test_difference_is_a_share_of_the_largest_logit() -> None:
    found = compare(_off(torch.arange(3)), EXPECTED)
    assert found.difference == pytest.approx(0.3 / 4)
    assert found.agreement == pytest.approx(2 / 3)


def test_what_is_no_number_differs_infinitely() -> None:
    assert compare(torch.full((1, 2), torch.nan), EXPECTED[:1]).difference == torch.inf


def test_what_is_within_the_tolerance_passes() -> None:
    assert _check(difference=0.08, agreement=0.6)(_off) == compare(_off(torch.arange(3)), EXPECTED)


def test_what_is_beyond_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"by 0\.075 of the largest one, more than the 0\.07"):
        _check(difference=0.07)(_off)
    with pytest.raises(CheckpointError, match="for 67% of 3 clips, fewer than 70%"):
        _check(difference=0.1, agreement=0.7)(_off)


def test_one_clip_comes_alone_and_then_several() -> None:
    seen: list[int] = []

    def scorer(clips: Tensor) -> Tensor:
        seen.append(len(clips))
        return torch.ones(len(clips), 2)

    clips = noise_clips((3, 2, 4, 4), 7)
    Check(reference=scorer, clips=clips, tolerance=Parity(difference=0.0, agreement=0.0))(scorer)
    assert seen == [1, 4, 2] * 2
    assert clips.equal(noise_clips((3, 2, 4, 4), 7))
