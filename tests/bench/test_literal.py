"""The plainly written networks against the package's: the same numbers out, the same gradients back."""

import ast
import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import literal
from benchmarks.literal import LITERAL_NETWORKS, literal_network
from t3d.models import create_model


def test_it_shares_no_code_with_the_package() -> None:
    imported = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(literal)))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = {alias.name for node in imported for alias in node.names} | {
        node.module for node in imported if isinstance(node, ast.ImportFrom)
    }
    assert {str(name).split(".")[0] for name in names} <= {"torch", "nn", "Tensor"}


@pytest.mark.parametrize(("name", "giga_multiply_adds"), [("densenet3d_121", 62.5), ("t3d_121", 244), ("t3d_169", 248)])
def test_it_costs_what_table_1_says(name: str, giga_multiply_adds: float) -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        literal_network(name)(torch.empty(1, 3, 32, 224, 224))
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga_multiply_adds, rel=0.001)


@pytest.mark.parametrize("name", LITERAL_NETWORKS)
def test_the_values_of_one_fit_the_other_in_order(name: str) -> None:
    with torch.device("meta"):
        ours, plain = create_model(name, 7), literal_network(name, num_classes=7)
    shapes = [[tensor.shape for tensor in network.state_dict().values()] for network in (ours, plain)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("name", "blocks"), [("t3d_121", (3, 2, 2, 3)), ("densenet3d_121", (6, 12, 24, 16))])
def test_a_training_step_has_the_same_numbers_in_double_precision(name: str, blocks: tuple[int, ...]) -> None:
    """All of DenseNet3D, and T3D with fewer layers; `python -m benchmarks train` compares all of both."""
    generator = torch.Generator().manual_seed(0)
    ours = create_model(name, 5, blocks=blocks, generator=generator).double()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
    plain = literal_network(name, num_classes=5, blocks=blocks).double()
    plain.load_state_dict(dict(zip(plain.state_dict(), ours.state_dict().values(), strict=True)))
    clips = torch.randn(2, 3, 16, 64, 64, generator=generator, dtype=torch.float64)
    labels = torch.tensor([1, 3])

    outcomes = [network(clips) for network in (ours, plain)]
    for outcome in outcomes:
        F.cross_entropy(outcome, labels).backward()

    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=1e-10, atol=1e-10)
    for (key, mine), theirs in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert (mine.grad - theirs.grad).norm() <= 1e-10 * theirs.grad.norm() + 1e-12, key  # some nearly vanish
    for mine, theirs in zip(ours.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
