"""`prepare_for_inference`: the copy scores alike, keeps all names, and never trains."""

import pickle
from copy import deepcopy
from typing import Any

import pytest
import torch
from test_fast_training import MICRO, SMALL, small
from torch import Tensor, nn

from t3d.errors import ConfigError
from t3d.models import ARCHITECTURES, Network, accelerate, create_model, prepare_for_inference

CASES: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in SMALL),
    ("t3d", {"ttl_depths": ((1, 3, 6), (2, 4, 5), (1,)), "keep_last_plane": True}),
    ("t3d", {"transition_time_stride": 1}),
    ("t3d", {"transition_time_stride": 3, "keep_last_plane": True}),
    ("t3d", {"ttl_compress": True, "keep_last_plane": True}),
    ("t3d", {"replicate_time": True}),
    ("inception3d", {"same": True, "ttl_depths": (None, None, None), "pool_kernels": ((2, 2, 2),) * 4}),
]
SMALL_FORMS: dict[str, dict[str, Any]] = {
    "c3d": {"widths": ((3,), (4,), (5, 6), (6, 6), (6, 7)), "fc_width": 8},
    "i3d": {**SMALL["inception3d"][1], "head": "mean"},
}


def randomised(network: Network) -> Network:
    """Statistics of their own for every norm, so that evaluation tests them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.uniform_(-0.5, 0.5, generator=generator)
                module.running_mean.normal_(0, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()


def clips(*size: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("options", [{}, {"for_export": True}, {"for_export": True, "smooth_kernels": True}])
@pytest.mark.parametrize(("family", "overrides"), CASES)
def test_it_scores_alike_for_even_and_odd_sizes(
    family: str, overrides: dict[str, Any], options: dict[str, bool]
) -> None:
    network = randomised(small(family, **overrides))
    nn.init.normal_(network.classifier.weight)
    copy = prepare_for_inference(network, **options)
    with torch.no_grad():
        for size in ((16, 32, 32), (15, 29, 35)):
            torch.testing.assert_close(copy(clips(*size)), network(clips(*size)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_keeps_its_names(arch: str) -> None:
    with torch.device("meta"):
        network = create_model(arch, 7)
    copy = prepare_for_inference(network)
    own, copied = network.state_dict(), copy.state_dict()
    assert list(copied) == list(own)
    assert all(copied[name].shape == own[name].shape for name in own)
    assert copy(torch.empty(2, 3, *ARCHITECTURES[arch].spec.minimum_size, device="meta")).shape == (2, 7)
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("family", SMALL)
def test_single_and_several_clips_in_float32(family: str, batch: int) -> None:
    network = randomised(small(family).float())
    inputs = clips(16, 32, 32, batch=batch).float()
    with torch.no_grad():
        torch.testing.assert_close(prepare_for_inference(network)(inputs), network(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", SMALL_FORMS)
def test_published_heads_in_float32(arch: str) -> None:
    network = randomised(create_model(arch, 5, generator=torch.Generator().manual_seed(0), **SMALL_FORMS[arch]))
    inputs = clips(*network.spec.minimum_size).float()
    with torch.no_grad():
        torch.testing.assert_close(prepare_for_inference(network)(inputs), network(inputs), rtol=1e-4, atol=1e-5)


def test_single_float32_clips_leave_the_slow_path(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    onednn = torch.mkldnn_convolution

    def noting(*arguments: Any) -> Tensor:  # noqa: ANN401
        calls.append(1)
        return onednn(*arguments)

    monkeypatch.setattr(torch, "mkldnn_convolution", noting)
    network = randomised(small("t3d").float())
    copy, inputs = prepare_for_inference(network), clips(16, 32, 32, batch=1).float()
    copy(inputs)  # nothing in it needs a gradient
    convolutions = sum(isinstance(module, nn.Conv3d) for module in network.modules())
    assert len(calls) == convolutions
    with torch.autocast("cpu", torch.bfloat16):
        copy(inputs)
    copy.double()(inputs.double())
    assert len(calls) == convolutions


def test_the_network_is_left_alone_and_the_copy_holds_the_same_values() -> None:
    network = small("t3d").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    copy = prepare_for_inference(network)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in copy.modules())
    for state in (network.state_dict(), copy.state_dict()):
        assert list(state) == list(before)
        assert all(torch.equal(state[name], before[name]) for name in before)


@pytest.mark.parametrize("smooth_kernels", [False, True])
def test_a_loaded_state_dict_counts(smooth_kernels: bool) -> None:
    first, second = randomised(small("t3d")), randomised(small("t3d"))
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(0.9)
    copy = prepare_for_inference(first, smooth_kernels=smooth_kernels)
    copy.load_state_dict(second.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(copy(clips(16, 32, 32)), second(clips(16, 32, 32)), rtol=1e-9, atol=1e-9)
        copies = [deepcopy(copy), pickle.loads(pickle.dumps(copy)), prepare_for_inference(copy)]
        for other in copies:
            other.load_state_dict(first.state_dict(), strict=True)
            torch.testing.assert_close(other(clips(16, 32, 32)), first(clips(16, 32, 32)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", SMALL)
def test_it_cannot_be_trained(family: str) -> None:
    copy = prepare_for_inference(small(family))
    with pytest.raises(ConfigError, match="prepared for inference"):
        copy.train()
    assert copy.eval() is copy


def test_an_accelerated_network_is_prepared_just_so() -> None:
    network = randomised(small("t3d"))
    plain, fused = prepare_for_inference(network), prepare_for_inference(accelerate(deepcopy(network)))
    assert [type(module) for module in plain.modules()] == [type(module) for module in fused.modules()]
    with torch.no_grad():
        assert torch.equal(plain(clips(16, 32, 32)), fused(clips(16, 32, 32)))


@pytest.mark.parametrize(
    ("family", "options"),
    [("t3d", {}), ("t3d", {"for_export": True, "smooth_kernels": True}), ("resnet3d", {"for_export": True})],
)
def test_export_captures_it_for_any_batch(family: str, options: dict[str, bool]) -> None:
    network = randomised(small(family).float())
    dynamic = {"clips": {0: torch.export.Dim("batch", min=1, max=64)}}
    program = torch.export.export(
        prepare_for_inference(network, **options), (clips(16, 32, 32).float(),), dynamic_shapes=dynamic
    )
    assert not [node for node in program.graph.nodes if "mkldnn" in str(node.target)]
    inputs = clips(16, 32, 32, batch=3).float()
    with torch.no_grad():
        torch.testing.assert_close(program.module()(inputs), network(inputs), rtol=1e-4, atol=1e-5)


def test_what_is_exported_holds_each_weight_once() -> None:
    network = small("t3d")
    copy = prepare_for_inference(network, for_export=True)
    held = sum(tensor.numel() for tensor in [*copy.parameters(), *copy.buffers()])
    assert held <= sum(tensor.numel() for tensor in network.state_dict().values())


def test_it_compiles_as_one_graph(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("jaxtyping_packages", default=None):
        pytest.skip("torch.compile cannot trace the run-time checks of annotations")
    network = randomised(small("t3d"))
    compiled = torch.compile(prepare_for_inference(network), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(clips(16, 32, 32)), network(clips(16, 32, 32)), rtol=1e-9, atol=1e-9)


def test_gradients_reach_the_clips() -> None:
    """What maps of attention ask for."""
    network = randomised(small("t3d", **MICRO).float())
    inputs = [clips(16, 32, 32, batch=1).float().requires_grad_() for _ in range(2)]
    for model, given in zip((network, prepare_for_inference(network)), inputs, strict=True):
        model(given)[0, 0].backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-3, atol=1e-5)


def test_what_was_prepared_for_export_is_not_prepared_again() -> None:
    ready = prepare_for_inference(small("t3d"), for_export=True)
    with pytest.raises(ConfigError, match="export"):
        prepare_for_inference(ready)


def test_a_norm_of_another_kind_stays_as_it_is() -> None:
    network = small("t3d").eval()
    network.stem.norm = nn.GroupNorm(2, 4).double()
    network.stages.block1.layer1.grow.norm = nn.GroupNorm(2, 8).double()
    inputs = clips(16, 64, 64)
    torch.testing.assert_close(prepare_for_inference(network)(inputs), network(inputs), rtol=1e-9, atol=1e-9)
