from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from t3d.inference.graph import capture, clip_shape
from t3d.models.checkpoints import ModelCard
from t3d.video.spec import PixelSpec


def test_bytes_are_normalised_inside_and_any_number_of_clips_will_do(
    micro_model: Callable[..., nn.Module], card: ModelCard
) -> None:
    network = micro_model().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    captured = capture(network, card).module()
    assert network.training
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())
    network.eval()
    for count in (1, 2, 5):
        clips = torch.randint(256, (count, 3, 4, 32, 32), dtype=torch.uint8)
        with torch.no_grad():
            torch.testing.assert_close(captured(clips), network((clips.float() / 255 - 0.45) / 0.225))


def test_flow_has_two_channels(card: ModelCard) -> None:
    assert clip_shape(card) == (3, 4, 32, 32)
    assert clip_shape(replace(card, pixels=PixelSpec(resize=40, crop_size=36, modality="flow"))) == (2, 4, 36, 36)
