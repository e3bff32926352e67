from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models import TemporalTransition, create_model, with_transition


class Residual(nn.Module):
    """As somebody else would write it."""

    def __init__(self, before: int, after: int, stride: int | tuple[int, int, int] = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(before, after, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv3d(after, after, 3, padding=1)
        self.shortcut = nn.Conv3d(before, after, 1, stride=stride) if before != after else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(features))) + self.shortcut(features))


class Pooled(nn.Module):
    """A pool, a convolution, and a shortcut that averages before its convolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool3d(2)
        self.conv = nn.Conv3d(before, after, 3, padding=1)
        self.shortcut = nn.Sequential(nn.AvgPool3d((2, 2, 2)), nn.Conv3d(before, after, 1))

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.conv(self.pool(features)) + self.shortcut(features))


class Functional(nn.Module):
    """Half of its halving is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(4, 6, 3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(features) + F.avg_pool3d(features, 2).sum(dim=1, keepdim=True)


STAGES: dict[str, Callable[[], nn.Module]] = {
    "residual": lambda: nn.Sequential(Residual(4, 6, 2), Residual(6, 6)),
    "time stays": lambda: nn.Sequential(Residual(4, 6, (1, 2, 2)), Residual(6, 6)),
    "pools": lambda: nn.Sequential(Pooled(4, 6)),
    "a pool": lambda: nn.MaxPool3d(3, stride=2, padding=1),
    "halves twice": lambda: nn.Sequential(Residual(4, 6, 2), Residual(6, 8, 2)),
}


def _map(*size: int) -> Tensor:
    return torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("size", [(8, 16, 16), (4, 8, 12)])
def test_the_output_keeps_its_size_and_the_weights_their_shapes(name: str, size: tuple[int, int, int]) -> None:
    stage = STAGES[name]()
    before = {key: tensor.clone() for key, tensor in stage.state_dict().items()}
    whole, features = with_transition(stage, 4), _map(*size)
    assert whole(features).shape == stage(features).shape
    assert isinstance(whole.transition, TemporalTransition)
    own = whole.stage.state_dict()
    assert list(own) == list(before)
    assert all(torch.equal(own[key], before[key]) for key in before)
    whole.stage.load_state_dict(before, strict=True)


@pytest.mark.parametrize("name", STAGES)
def test_the_stage_works_on_what_the_transition_gives(name: str) -> None:
    """Convolutions at every place, no pool, on the halved map."""
    stage, features = STAGES[name](), _map(8, 16, 16)
    whole = with_transition(stage, 4).eval()
    halved = whole.transition(features)
    assert halved.shape == (2, 4, 8 if name == "time stays" else 4, 8, 8)
    if name in ("residual", "time stays"):
        by_hand = nn.Sequential(Residual(4, 6), Residual(6, 6))
        by_hand.load_state_dict(stage.state_dict())
    elif name == "pools":
        block = stage[0]
        by_hand = lambda seen: F.relu(block.conv(seen) + block.shortcut[1](seen))  # noqa: E731
    elif name == "a pool":
        by_hand = nn.Identity()
    else:
        by_hand = nn.Sequential(Residual(4, 6), Residual(6, 8, 2))
        by_hand.load_state_dict(stage.state_dict())
    torch.testing.assert_close(whole(features), by_hand(halved))


def test_the_stage_that_was_given_stays_as_it_is() -> None:
    stage, features = STAGES["residual"](), _map(8, 16, 16)
    before = stage(features)
    whole = with_transition(stage, 4)
    nn.init.zeros_(whole.stage[0].conv1.weight)
    assert torch.equal(stage(features), before)
    assert stage[0].conv1.stride == (2, 2, 2)


@pytest.mark.parametrize(
    ("name", "place", "channels", "depths"),
    [
        ("resnet3d_tiny", "block2", 12, (1, 3, 6)),
        ("resnet3d_tiny", "block4", 48, (1, 2)),
        ("resnet3d_50", "block3", 16, (3,)),
    ],
)
def test_it_makes_the_networks_of_the_table(name: str, place: str, channels: int, depths: tuple[int, ...]) -> None:
    """The same as `ttl_depths`, with the same weights."""
    width = {"width": channels // 2 // 4 if name == "resnet3d_50" else 12}
    places = [None, None, None]
    number = int(place[-1])
    places[number - 2] = depths
    table = create_model(name, 5, generator=torch.Generator().manual_seed(1), ttl_depths=tuple(places), **width).eval()
    plain = create_model(name, 5, generator=torch.Generator().manual_seed(2), **width).eval()
    plain.stages.set_submodule(place, with_transition(plain.stages.get_submodule(place), channels, depths=depths))
    renamed = {}
    for key, tensor in table.state_dict().items():
        key = key.replace(f"stages.transition{number - 1}.", f"stages.{place}.transition.")
        renamed[key.replace(f"stages.{place}.", f"stages.{place}.stage.") if ".transition." not in key else key] = (
            tensor
        )
    plain.load_state_dict(renamed, strict=True)
    clips = torch.randn(1, 3, 16, 64, 64, generator=torch.Generator().manual_seed(3))
    assert torch.equal(plain(clips), table(clips))


def test_a_generator_decides_the_new_weights_which_are_where_the_stage_is() -> None:
    stage = STAGES["residual"]().double().eval()
    first, again, other = (
        with_transition(stage, 4, generator=torch.Generator().manual_seed(seed)).transition for seed in (0, 0, 1)
    )
    weight = first.branches[1].conv.weight
    assert torch.equal(weight, again.branches[1].conv.weight)
    assert not torch.equal(weight, other.branches[1].conv.weight)
    assert (weight.dtype, first.training) == (torch.float64, False)


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        (lambda: nn.Sequential(Residual(4, 4)), "but has none; give"),
        (lambda: nn.Sequential(Residual(4, 6, 4)), r"but has 0.conv1 \(4, 4, 4\), 0.shortcut \(4, 4, 4\); give"),
        (lambda: nn.MaxPool3d(4), r"but has itself \(4, 4, 4\); give"),
        (Functional, r"^behind a transition the stage does not take 4 channels of \(8, 16, 16\) "),
        (lambda: nn.Conv3d(4, 6, 2, stride=2), r"gives \(4, 8, 8\), but \(3, 7, 7\) behind a transition"),
        (lambda: Residual(5, 6, 2), r"^the stage does not take 4 channels of \(8, 16, 16\) "),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(stage: Callable[[], nn.Module], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        with_transition(stage(), 4)
    assert "\n" not in str(caught.value)
