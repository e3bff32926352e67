import json
from pathlib import Path

import pytest

from program import Call
from t3d.models.registry import ARCHITECTURES


def test_models_as_json_and_table(t3d: Call) -> None:
    rows = json.loads(t3d("models", "--json").out)
    assert [row["name"] for row in rows] == list(ARCHITECTURES)
    by_name = {row["name"]: row for row in rows}
    assert by_name["t3d_121"]["input"] == [3, 32, 224, 224]
    assert set(rows[0]) == {"name", "parameters", "gflops", "input"}
    out = t3d("models", "--arch", rows[0]["name"]).out
    assert rows[0]["name"] in out
    assert f"{rows[0]['parameters'] / 1e6:.2f} M" in out


def test_chosen_rows_in_the_order_given(t3d: Call) -> None:
    rows = json.loads(t3d("models", "--json", "--arch", "t3d_tiny", "c3d_tiny").out)
    assert [row["name"] for row in rows] == ["t3d_tiny", "c3d_tiny"]


def test_unknown_network_is_named(t3d: Call, tmp_path: Path) -> None:
    outcome = t3d("models", "--arch", "t3d_tiny", "t3d_12", "--output", tmp_path / "table.md")
    assert outcome.code == 2
    assert "unknown arch 't3d_12'" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_costs_are_measured_at_the_native_and_the_common_input(t3d: Call, tmp_path: Path) -> None:
    given = ("models", "--measure", "--arch", "t3d_tiny", "--input", 16, 32, 32, "--output", tmp_path / "table.md")
    (row,) = json.loads(t3d(*given, "--json").out)
    for figures in (row, row["common"]):
        assert figures["milliseconds"] > 0
        assert figures["peak_bytes"] > 4 * row["parameters"]  # the weights are held, at least
    assert row["common"]["input"] == [3, 16, 32, 32]
    assert row["common"]["gflops"] == pytest.approx(row["gflops"] / 4, rel=0.01)  # a quarter of the area
    head, _, line, *_ = (tmp_path / "table.md").read_text().splitlines()
    assert head.count("|") == line.count("|") == 10
    assert line.startswith("| t3d_tiny | 0.53 M | 0.68 | 3 x 16 x 64 x 64 | ")
    assert "common: the same at clips of 16 x 32 x 32" in (tmp_path / "table.md").read_text()


def test_common_input_that_is_the_native_one_is_measured_once(t3d: Call) -> None:
    (row,) = json.loads(t3d("models", "--json", "--measure", "--arch", "c3d_tiny", "--input", 16, 64, 64).out)
    assert {key: row["common"][key] for key in row if key in row["common"]} == {
        key: row[key] for key in ("gflops", "input", "milliseconds", "peak_bytes")
    }


def test_a_head_made_for_the_native_size_is_replaced_or_there_is_no_figure(t3d: Call) -> None:
    sizes = {"i3d": (16, 112, 112), "c3d": (4, 32, 32)}
    rows = {name: json.loads(t3d("models", "--json", "--arch", name, "--input", *sizes[name]).out)[0] for name in sizes}
    assert rows["i3d"]["common"]["overrides"] == {"head": "mean"}
    assert rows["i3d"]["common"]["gflops"] > 0
    assert rows["c3d"]["common"]["gflops"] is None
    assert "n/a at this size" in t3d("models", "--arch", "c3d", "--input", *sizes["c3d"]).out
    assert "* i3d with head=mean" in t3d("models", "--arch", "i3d", "--input", *sizes["i3d"]).out


def test_input_of_nothing_is_refused(t3d: Call) -> None:
    outcome = t3d("models", "--input", 16, 0, 112)
    assert outcome.code == 2
    assert "--input 16 0 112" in outcome.err
