"""The worked example of CONTRIBUTING: a family is a spec with `build`, and a row of `registry.ARCHITECTURES`."""

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import t3d
from t3d.models import ARCHITECTURES, Architecture, describe_models
from t3d.models.layers import ConvNorm, Size
from t3d.models.network import Trunk


@dataclass(frozen=True, kw_only=True)
class ToySpec:
    """Options of the family."""

    in_channels: int = 3
    width: int = 8
    neck: int = 0
    time_kernel: int = 3
    minimum_size: Size = (1, 2, 2)

    def twin(self) -> dict[str, object]:
        return {"time_kernel": 1}

    def build(self) -> Trunk:
        """A stem that halves height and width, and one block."""
        stem = nn.Conv3d(self.in_channels, self.width, (1, 2, 2), stride=(1, 2, 2))
        block = ConvNorm(self.width, 2 * self.width, kernel=(self.time_kernel, 3, 3))
        return Trunk(stem=stem, stages=nn.Sequential(OrderedDict(block1=block)), num_features=2 * self.width)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "toy", Architecture(spec=ToySpec(), num_frames=4, size=8))


def test_it_is_created_by_name_with_overrides() -> None:
    network = t3d.create_model("toy", num_classes=5, width=4).eval()
    clips = torch.randn(2, 3, 4, 8, 8)
    assert network(clips).shape == (2, 5)
    assert network.embed(clips).shape == (2, 8)
    torch.testing.assert_close(t3d.prepare_for_inference(network)(clips), network(clips), rtol=1e-4, atol=1e-5)


def test_it_is_in_messages_and_the_table_of_networks() -> None:
    with pytest.raises(Exception, match=r"typo.*toy"):
        t3d.create_model("typo")
    (row,) = describe_models(["toy"])
    convolutions = 8 * (3 * 4 + 1) + 16 * 8 * 27
    assert row.parameters == convolutions + 2 * 16 + 400 * (16 + 1)
    assert row.input == (3, 4, 8, 8)
