from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.data.samples import VideoList
from t3d.errors import DataError, DecodeError
from t3d.models.checkpoints import ModelCard
from t3d.transfer.probe import L2_PENALTY, NUM_NEIGHBOURS, linear_probe, nearest_neighbours, probe_features
from t3d.video.reader import ArrayVideo

MakeVideos = Callable[..., VideoList]


def _direction(degrees: float, length: float = 1.0) -> list[float]:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return [length * float(angle.cos()), length * float(angle.sin())]


def test_the_nearest_five_vote_by_their_cosine() -> None:
    """Two of class 2 right beside the query outweigh three of class 0 at 75 degrees: 2 * 1 > 3 * 0.26."""
    assert NUM_NEIGHBOURS == 5
    features = torch.tensor([_direction(75)] * 3 + [_direction(0, 9.0)] * 2 + [_direction(170)] * 20)
    labels = torch.tensor([0] * 3 + [2] * 2 + [1] * 20)
    queries = torch.tensor([_direction(0, 0.1), _direction(80), _direction(150, 4.0)])
    # At 80 degrees: class 0 at 5 degrees three times, and two of class 2 at 80 or of class 1 at 90.
    assert nearest_neighbours(features, labels, queries).tolist() == [2, 0, 1]


def test_lengths_do_not_matter_to_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    features, queries = (torch.rand(count, 7, generator=generator) for count in (30, 20))
    labels = torch.randint(4, (30,), generator=generator)
    scale = torch.rand(30, 1, generator=generator) + 0.1
    plain = nearest_neighbours(features, labels, queries)
    assert nearest_neighbours(features * scale, labels, 3 * queries).equal(plain)
    by_hand = []
    for query in queries:
        cosines = [float(F.cosine_similarity(query, feature, dim=0)) for feature in features]
        nearest = sorted(range(30), key=lambda index, cosines=cosines: -cosines[index])[:5]
        votes = {label: sum(cosines[index] for index in nearest if labels[index] == label) for label in range(4)}
        by_hand.append(max(votes, key=lambda label, votes=votes: votes[label]))
    assert plain.tolist() == by_hand


def test_few_training_videos_are_all_neighbours() -> None:
    features = torch.tensor([_direction(0), _direction(10), _direction(60)])
    assert nearest_neighbours(features, torch.tensor([1, 1, 0]), features).tolist() == [1, 1, 1]


def _data(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Three overlapping classes whose features differ in scale and place."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat(20)
    centres = torch.randn(3, 5, generator=generator)
    scale, place = torch.tensor([1.0, 50.0, 0.01, 3.0, 1.0]), torch.tensor([0.0, 100.0, 5.0, -7.0, 0.0])
    features = (centres[labels] + torch.randn(60, 5, generator=generator)) * scale + place
    queries = 2 * torch.randn(300, 5, generator=generator) * scale + place
    return features, labels, queries


def _optimum(inputs: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Weights (D + 1, K) where the gradient of loss and penalty is zero, by Newton's method in float64."""
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=torch.float64)], dim=1)
    targets = F.one_hot(labels, num_classes).double()
    width = inputs.shape[1]
    penalty = torch.full((width, num_classes), 2 * L2_PENALTY, dtype=torch.float64)
    penalty[-1] = 0  # the shift is free
    weights = torch.zeros(width, num_classes, dtype=torch.float64)
    for _ in range(30):
        shares = (inputs @ weights).softmax(dim=1)
        gradient = inputs.T @ (shares - targets) / len(inputs) + penalty * weights
        curvature = torch.diag_embed(shares) - shares[:, :, None] * shares[:, None, :]  # (N, K, K)
        hessian = torch.einsum("nd,ne,nij->diej", inputs, inputs, curvature) / len(inputs)
        hessian = hessian.reshape(width * num_classes, -1) + torch.diag(penalty.flatten())
        weights = weights - (torch.linalg.pinv(hessian) @ gradient.flatten()).view_as(weights)
    assert gradient.abs().max() < 1e-12
    return weights


@pytest.mark.parametrize("seed", range(3))
def test_the_linear_probe_is_at_the_optimum(seed: int) -> None:
    """Its decisions are those of weights whose gradient is zero, found another way; near-ties are not asked."""
    features, labels, queries = _data(seed)
    mean, deviation = features.double().mean(dim=0), features.double().std(dim=0, correction=0)
    weights = _optimum((features - mean) / deviation, labels, 3)
    scores = ((queries - mean) / deviation) @ weights[:-1] + weights[-1]
    best, second = scores.topk(2, dim=1).values.unbind(dim=1)
    sure = best - second > 0.02
    assert sure.float().mean() > 0.95
    found = linear_probe(features, labels, queries, num_classes=3)
    assert found[sure].equal(scores.argmax(dim=1)[sure])
    assert set(found.tolist()) == {0, 1, 2}


def test_features_that_never_vary_and_classes_nobody_has_are_no_obstacle() -> None:
    features, labels, queries = _data(0)
    plain = linear_probe(features, labels, queries, num_classes=3)
    constant = [torch.cat([values, torch.full((len(values), 1), 3.0)], dim=1) for values in (features, queries)]
    assert linear_probe(constant[0], labels, constant[1], num_classes=3).equal(plain)
    wide = linear_probe(features, labels, queries, num_classes=5)
    assert set(wide.tolist()) <= {0, 1, 2}


class MeanColours(nn.Module):
    """Describes clips by their mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))  # a network has a device

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, 3, T, H, W) to (B, 3)."""
        return clips.mean(dim=(2, 3, 4))


def _open_plain(path: Path) -> ArrayVideo:
    """`CLASS-NUMBER.mp4`: the class gives the channel that is bright."""
    if "bad" in path.name:
        raise DecodeError(f"{path}: truncated")
    kind, number = (int(part) for part in path.stem.split("-"))
    pictures = torch.full((9, 32, 32, 3), 10 + number, dtype=torch.uint8)
    pictures[..., kind] = 200
    return ArrayVideo(pictures, name=path.name)


NAMES = [f"{label}-{number}.mp4" for label in range(3) for number in range(6)]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_videos_that_look_like_their_class_are_found(num_workers: int, videos: MakeVideos, card: ModelCard) -> None:
    train = videos([*NAMES, "bad.mp4"], labels=[*(int(name[0]) for name in NAMES), 0])
    test = videos(["0-9.mp4", "1-9.mp4", "2-9.mp4", "2-8.mp4"], labels=[0, 1, 2, 2])
    probe = {"num_workers": num_workers, "source": _open_plain}
    found = probe_features(MeanColours().eval(), train, test, card, **probe)
    assert found == {"5 nearest neighbours": 1.0, "linear": 1.0}
    wrong = videos(["0-9.mp4", "1-9.mp4", "bad.mp4", "2-8.mp4"], labels=[0, 2, 1, 2])
    found = probe_features(MeanColours().eval(), train, wrong, card, **probe)
    assert found == {"5 nearest neighbours": 0.5, "linear": 0.5}  # what cannot be decoded is wrong


def test_features_are_averaged_over_clips_as_they_are(videos: MakeVideos, card: ModelCard) -> None:
    """Not turned into shares that sum up to one, as scores are: a brighter video of equal shares is told apart."""

    def open_grey(path: Path) -> ArrayVideo:
        bright = 180 if path.name.startswith("1") else 60
        return ArrayVideo(torch.full((9, 32, 32, 3), bright + int(path.stem[-1]), dtype=torch.uint8))

    train = videos([f"{label}-{number}.mp4" for label in (0, 1) for number in range(6)], labels=[0] * 6 + [1] * 6)
    test = videos(["0-7.mp4", "1-7.mp4"], labels=[0, 1])
    found = probe_features(MeanColours().eval(), train, test, card, num_workers=0, source=open_grey)
    assert found["linear"] == 1.0


@pytest.mark.parametrize("side", ["train", "test"])
def test_lists_of_broken_videos_are_named(side: str, videos: MakeVideos, card: ModelCard) -> None:
    good, broken = videos(NAMES, labels=[int(name[0]) for name in NAMES]), videos(["bad1.mp4", "bad2.mp4"])
    train, test = (broken, good) if side == "train" else (good, broken)
    with pytest.raises(DataError, match=r"/nowhere: none of the 2 videos of split 1 can be decoded"):
        probe_features(MeanColours().eval(), train, test, card, num_workers=0, source=_open_plain)
