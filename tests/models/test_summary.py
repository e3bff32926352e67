import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from t3d.models import ARCHITECTURES, ModelSummary, create_model, describe_models, native_input
from t3d.models.summary import fit


@pytest.fixture(scope="module")
def summaries() -> dict[str, ModelSummary]:
    return {summary.name: summary for summary in describe_models()}


def test_every_network_is_listed_in_order(summaries: dict[str, ModelSummary]) -> None:
    assert list(summaries) == list(ARCHITECTURES)


@pytest.mark.parametrize(
    ("name", "millions", "giga_multiply_adds"),
    [("densenet3d_121", 11.659, 62.5), ("t3d_121", 29.877, 244), ("t3d_169", 38.519, 248)],
)
def test_costs_are_those_that_follow_from_table_1(
    summaries: dict[str, ModelSummary], name: str, millions: float, giga_multiply_adds: float
) -> None:
    summary = summaries[name]
    assert summary.parameters / 1e6 == pytest.approx(millions, abs=0.0005)
    assert summary.gflops / 2 == pytest.approx(giga_multiply_adds, rel=0.003)
    assert summary.input == (3, 32, 224, 224)


def test_nothing_is_lost_by_leaving_values_out() -> None:
    """The counter of PyTorch without our shortcut, on a real network."""
    model = create_model("t3d_tiny").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *native_input("t3d_tiny")))
    (summary,) = describe_models(["t3d_tiny"])
    assert summary.gflops == counter.get_total_flops() / 1e9
    assert summary.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_a_network_fits_as_it_is_or_with_another_literal_or_not_at_all() -> None:
    native = fit("c3d", (16, 112, 112))
    assert native is not None
    assert native.overrides == {}
    larger = fit("c3d", (16, 160, 160))
    assert larger is not None
    assert larger.overrides == {"head": "mean"}
    short = fit("t3d_121", (8, 112, 112))
    assert short is not None
    assert short.overrides == {"keep_last_plane": True}
    assert fit("c3d", (1, 8, 8)) is None
