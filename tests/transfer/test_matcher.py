"""Of `t3d.transfer.matcher`; two test files of one name cannot be collected together."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.transfer.matcher import WIDTH, ColourStatistics, Matcher, MatchingNetwork


def _matcher(*, student: int = 6, teacher: int = 5, normalise: bool = False) -> Matcher:
    torch.manual_seed(0)
    matcher = Matcher(student_features=student, teacher_features=teacher, normalise=normalise)
    with torch.no_grad():  # so that shifts are not all zero
        for name, value in matcher.named_parameters():
            if name.endswith("bias") and "norm" not in name:
                value.normal_(0, 0.1)
    return matcher


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("teacher", [1280, 1024, 6])
@pytest.mark.parametrize("student", [96, 6])
def test_parameters_match_the_closed_form(student: int, teacher: int, normalise: bool) -> None:
    """Each layer has (inputs + 1) * outputs; a teacher that is 1024 wide needs no layer of its own."""
    matcher = Matcher(student_features=student, teacher_features=teacher, normalise=normalise)
    widen = (student + 1) * 1024 + (0 if teacher == 1024 else (teacher + 1) * 1024)
    head = (2048 + 1) * 512 + (512 + 1) * 128 + (128 + 1) * 2
    assert sum(weight.numel() for weight in matcher.parameters()) == widen + head + (2 * 2 * 1024 if normalise else 0)


def test_scores_are_the_chain_of_layers() -> None:
    """2048 -> 512 -> 128 -> 2 with ReLU between, none before; pictures come first."""
    matcher = _matcher()
    weights = matcher.state_dict()
    seen, moved = _normal(4, 5), _normal(4, 6)
    pictures = matcher.describe_pictures(seen)
    clips = matcher.describe_clips(moved)
    torch.testing.assert_close(pictures, seen @ weights["teacher.weight"].T + weights["teacher.bias"])
    torch.testing.assert_close(clips, moved @ weights["student.weight"].T + weights["student.bias"])
    values = torch.cat([pictures, clips], dim=1)
    for number in (0, 2, 4):
        values = values.clamp(min=0) if number else values
        values = values @ weights[f"head.{number}.weight"].T + weights[f"head.{number}.bias"]
    torch.testing.assert_close(matcher(pictures, clips), values, rtol=1e-4, atol=1e-5)
    assert values.shape == (4, 2)


def test_features_of_the_full_width_pass_unchanged() -> None:
    features = _normal(3, WIDTH)
    assert _matcher(teacher=WIDTH).describe_pictures(features).equal(features)


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_normalised_features_have_mean_zero_and_deviation_one(side: str) -> None:
    matcher = _matcher(normalise=True)
    describe, width = (matcher.describe_clips, 6) if side == "student" else (matcher.describe_pictures, 5)
    features = _normal(8, width)
    plain = matcher.get_submodule(side)(features)
    expected = (plain - plain.mean(dim=0)) / (plain.var(dim=0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(describe(features), expected, rtol=1e-4, atol=1e-4)


def test_initial_weights_keep_the_variance_and_shifts_are_zero() -> None:
    torch.manual_seed(0)
    matcher = Matcher(student_features=96, teacher_features=1280)
    for layer in matcher.modules():
        if isinstance(layer, nn.Linear):
            deviation, few = math.sqrt(2 / layer.in_features), layer.out_features == 2
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.15 if few else 0.02)
            assert not layer.bias.any()
    torch.manual_seed(0)
    again = Matcher(student_features=96, teacher_features=1280)
    assert all(one.equal(other) for one, other in zip(matcher.parameters(), again.parameters(), strict=True))


def _colour_network() -> MatchingNetwork:
    return MatchingNetwork(ColourStatistics(), _matcher())


def test_pairs_are_scored_by_their_rows() -> None:
    network = _colour_network()
    clips, teacher_views = _normal(2, 3, 4, 5, 5), _normal(3, 5)
    pairs = torch.tensor([[0, 2], [1, 0], [0, 0], [1, 2], [0, 2]])
    scores, motion, appearance = network(clips, teacher_views, pairs)
    torch.testing.assert_close(motion, network.matcher.describe_clips(network.student.embed(clips)))
    torch.testing.assert_close(appearance, network.matcher.describe_pictures(teacher_views))
    for row, (clip, view) in zip(scores, pairs.tolist(), strict=True):
        (alone,) = network.matcher(appearance[view][None], motion[clip][None])
        torch.testing.assert_close(row, alone)
    assert scores[0].equal(scores[4])
    assert not torch.allclose(scores[0], scores[2])


def test_student_and_matcher_learn_and_looks_do_not() -> None:
    student = nn.Module()
    student.layer = nn.Linear(3, 6)
    student.embed = lambda clips: student.layer(clips.mean(dim=(2, 3, 4)))
    network = MatchingNetwork(student, _matcher())
    teacher_views = _normal(2, 5)
    scores, _, _ = network(_normal(2, 3, 4, 5, 5), teacher_views, torch.tensor([[0, 0], [1, 1], [0, 1]]))
    F.cross_entropy(scores, torch.tensor([1, 1, 0])).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())
    assert teacher_views.grad is None


def test_colour_statistics_are_mean_and_deviation_of_each_channel() -> None:
    clips = torch.zeros(2, 3, 2, 1, 2)
    clips[0, 1] = torch.tensor([[[1.0, 3.0]], [[1.0, 3.0]]])
    clips[1, 2] = torch.tensor([[[0.0, 0.0]], [[4.0, 0.0]]])
    expected = torch.tensor([[0, 2, 0, 0, 1, 0], [0, 0, 1, 0, 0, math.sqrt(3)]])  # 4, 0, 0, 0: mean 1, variance 12 / 4
    torch.testing.assert_close(ColourStatistics().embed(clips), expected)
    assert ColourStatistics().num_features == 6
    assert list(ColourStatistics().parameters()) == []
