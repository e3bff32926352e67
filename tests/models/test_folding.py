import pytest
import torch
from torch import nn

from t3d.models import create_model, folded


@pytest.mark.parametrize("arch", ["t3d_tiny", "densenet3d_tiny", "resnet3d_tiny_ttl", "inception3d_tiny", "c3d_tiny"])
def test_folded_copy_scores_alike_and_the_network_is_left_alone(arch: str) -> None:
    generator = torch.Generator().manual_seed(0)
    network = create_model(arch, 5, generator=generator)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.running_mean, -0.5, 0.5, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 2.0, generator=generator)
    network.double()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    clips = torch.randn(2, 3, 16, 64, 64, generator=generator, dtype=torch.float64)

    copy = folded(network)

    assert network.training
    assert not copy.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(copy(clips), network.eval()(clips), rtol=1e-10, atol=1e-12)


def test_only_norms_that_follow_no_convolution_are_left() -> None:
    norms = [
        name
        for name, module in folded(create_model("t3d_tiny", 2)).named_modules()
        if "BatchNorm" in type(module).__name__
    ]
    assert norms
    assert all(name == "norm" or "transition" in name or name.endswith("squeeze.norm") for name in norms)
