import pytest

from t3d.models import ARCHITECTURES, ModelSummary, describe_models


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
    assert summary.gflops / 2 == pytest.approx(giga_multiply_adds, rel=0.001)
    assert summary.input == (3, 32, 224, 224)
