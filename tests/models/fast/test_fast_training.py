"""`accelerate`: what it changes in a network, and what it leaves."""

import ast
import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

import t3d.models
from t3d.errors import ConfigError
from t3d.models import (
    ARCHITECTURES,
    Network,
    accelerate,
    create_model,
    supports_recompute,
    undo_acceleration,
    with_transition,
)
from t3d.models.fast.dense_block import FusedDenseBlock
from t3d.models.fast.transition import FusedDenseTransition, FusedTemporalTransition

FUSED = FusedDenseBlock | FusedDenseTransition | FusedTemporalTransition
MICRO: dict[str, Any] = {"blocks": (2, 1, 1, 1), "growth_rate": 4, "stem_channels": 4}
DEPTHS = ((1, 3, 6), (1, 3, 4), (1, 2))
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "t3d": ("t3d_tiny", {**MICRO, "ttl_width": 4}),
    "densenet3d": ("densenet3d_tiny", MICRO),
    "resnet3d": ("resnet3d_tiny_ttl", {"width": 4}),
    "inception3d": (
        "inception3d_tiny_ttl",
        {"entry": (4, 4, 6), "mixed": tuple(((3, 2, 3, 2, 2, 2),) for _ in range(3))},
    ),
    "c3d": ("c3d_tiny", {"widths": ((3,), (4,), (5, 6), (6, 6), (6, 7)), "ttl_depths": DEPTHS}),
}


def small(family: str, **overrides: object) -> Network:
    arch, options = SMALL[family]
    generator = torch.Generator().manual_seed(0)
    return create_model(arch, 5, generator=generator, **{**options, **overrides}).double()


def clips(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def stepped(network: Network, inputs: Tensor) -> list[Tensor]:
    """Scores, gradients and buffers after a step."""
    scores = network.train()(inputs)
    F.cross_entropy(scores, torch.tensor([1, 3])).backward()
    return [scores.detach(), *(parameter.grad for parameter in network.parameters()), *network.buffers()]


def fused(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, FUSED)]


@pytest.mark.parametrize("family", SMALL)
def test_a_training_step_stays_the_same(family: str) -> None:
    plain = small(family)
    ours = accelerate(deepcopy(plain))
    assert fused(ours)
    for found, expected in zip(stepped(ours, clips(16, 32, 32)), stepped(plain, clips(16, 32, 32)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_keeps_its_names_and_parameters(arch: str) -> None:
    with torch.device("meta"):
        network = create_model(arch, 7, generator=None).eval()
    names, parameters, modules = list(network.state_dict()), list(network.parameters()), list(network.modules())
    assert accelerate(network) is network
    assert list(network.state_dict()) == names
    assert all(one is other for one, other in zip(parameters, network.parameters(), strict=True))
    assert all(one is other for one, other in zip(modules, network.modules(), strict=True))
    assert bool(fused(network)) == arch.startswith(("t3d", "densenet3d")) or arch.endswith("ttl")
    size = ARCHITECTURES[arch].spec.minimum_size
    assert network(torch.empty(2, 3, *size, device="meta")).shape == (2, 7)


def test_it_can_be_called_twice_and_undone() -> None:
    network = small("t3d")
    kinds = [type(module) for module in network.modules()]
    accelerate(accelerate(network, recompute=True))
    assert len(fused(network)) == 4 + 3
    assert not any(getattr(module, "recompute", False) for module in network.modules())
    undo_acceleration(undo_acceleration(network))
    assert [type(module) for module in network.modules()] == kinds
    assert not any("recompute" in vars(module) for module in network.modules())


def test_a_network_with_a_transition_put_in_front_of_a_stage() -> None:
    stage = nn.Sequential(nn.Conv3d(4, 6, 3, stride=2, padding=1), nn.ReLU()).double()
    plain = with_transition(stage, 4)
    ours = accelerate(deepcopy(plain))
    features = torch.randn(2, 4, 8, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(features), plain(features), rtol=1e-10, atol=1e-10)
    assert type(ours.transition) is FusedTemporalTransition


def test_copies_are_accelerated_too() -> None:
    network = accelerate(small("t3d"), recompute=True)
    average = AveragedModel(network, use_buffers=True)
    average.update_parameters(network)
    copies: list[nn.Module] = [deepcopy(network), pickle.loads(pickle.dumps(network)), average.module]
    expected = stepped(network, clips(16, 32, 32))
    for copy in copies:
        assert [type(module) for module in copy.modules()] == [type(module) for module in network.modules()]
        assert not supports_recompute(copy)
        copy.zero_grad()
        for found, value in zip(stepped(copy, clips(16, 32, 32)), expected, strict=True):
            torch.testing.assert_close(found, value, rtol=1e-10, atol=1e-12)


def test_channels_last() -> None:
    plain = small("t3d")
    ours = accelerate(deepcopy(plain)).to(memory_format=torch.channels_last_3d)
    inputs = clips(16, 32, 32)
    found = stepped(ours, inputs.contiguous(memory_format=torch.channels_last_3d))
    for value, expected in zip(found, stepped(plain, inputs), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-8, atol=1e-10)


def test_it_compiles_as_one_graph(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("jaxtyping_packages", default=None):
        pytest.skip("torch.compile cannot trace the run-time checks of annotations")
    plain = small("t3d")
    ours = accelerate(deepcopy(plain))
    compiled = torch.compile(ours.train(), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(clips(16, 32, 32)), plain.train()(clips(16, 32, 32)), rtol=1e-8, atol=1e-10)


def test_checkpointing_a_transition_counts_a_batch_once() -> None:
    network = accelerate(small("t3d"))
    transition, other = network.stages.transition1, deepcopy(network.stages.transition1)
    features = torch.randn(2, transition.branches[0].conv.in_channels, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    checkpoint(transition, features, use_reentrant=False).sum().backward()
    other(features).sum().backward()
    assert transition.branches[0].norm.num_batches_tracked == 1
    for found, expected in zip(transition.buffers(), other.buffers(), strict=True):
        assert torch.equal(found, expected)


def test_networks_without_dense_blocks_cannot_recompute() -> None:
    network = create_model("resnet3d_tiny", 2)
    assert not supports_recompute(network)
    with pytest.raises(ConfigError, match="dense blocks"):
        accelerate(network, recompute=True)


@pytest.mark.parametrize("options", [{"dropout": 0.1}, {"replicate_time": True}])
def test_blocks_it_would_change_nothing_in_cannot_recompute(options: dict[str, Any]) -> None:
    network = small("t3d", **options)
    assert not supports_recompute(network)
    with pytest.raises(ConfigError, match="--recompute"):
        accelerate(network, recompute=True)
    assert not fused(network)  # refused before anything was changed


def test_recomputing_saves_once() -> None:
    network = small("t3d")
    assert supports_recompute(network)
    assert supports_recompute(accelerate(network))
    assert not supports_recompute(accelerate(network, recompute=True))


def test_plain_files_never_import_speed() -> None:
    room = Path(t3d.models.__file__).parent
    families = ("t3d", "resnet3d", "inception3d", "c3d")
    shared = ("layers", "heads", "network", "insertion", "registry")
    plain = [room / f"{name}.py" for name in (*families, *shared)]
    for file in [*plain, *room.glob("pretrained/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name == "t3d.models" or name.startswith("t3d.models.fast")], file


def test_an_exchanged_convolution_is_called_as_it_is() -> None:
    plain = small("t3d")
    plain.stem.conv = nn.Conv3d(3, 4, (3, 7, 7), stride=2, padding=(0, 3, 3), bias=False).double()
    plain.stages.block1.layer1.grow.conv = nn.Conv3d(8, 4, 3, padding=1).double()  # with a bias
    fused = accelerate(deepcopy(plain))
    inputs = clips(18, 65, 65)
    torch.testing.assert_close(fused.train()(inputs), plain.train()(inputs), rtol=1e-9, atol=1e-9)


def test_a_pruned_network_learns() -> None:
    network = accelerate(small("t3d"))
    for conv in (network.stem.conv, network.stages.block1.layer1.grow.conv):
        prune.l1_unstructured(conv, "weight", amount=0.5)
    for _ in range(2):
        network.train()(clips(16, 64, 64)).sum().backward()
    assert network.stem.conv.weight_orig.grad is not None
    assert network.stages.block1.layer1.grow.conv.weight_orig.grad is not None


def test_hooks_on_layers_inside_are_called() -> None:
    network, seen = accelerate(small("t3d")), []
    network.stages.block2.layer1.squeeze.conv.register_forward_hook(lambda *_: seen.append(1))
    network.train()(clips(16, 64, 64))
    assert seen == [1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_networks_in_half_precision_score_on_a_cpu(dtype: torch.dtype) -> None:
    inputs = clips(16, 64, 64)
    exact = small("t3d").eval()(inputs)
    for network in (small("t3d"), accelerate(small("t3d"))):
        scores = network.to(dtype).eval()(inputs.to(dtype))
        torch.testing.assert_close(scores.double(), exact, rtol=0.1, atol=0.02)
