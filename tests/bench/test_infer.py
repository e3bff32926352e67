import pytest
import torch

from arms import LIMITS, Instant
from t3d.bench import infer
from t3d.bench.infer import Way, bench_infer, scoring_step

SHAPE = (1, 3, 16, 29, 29)


def test_both_ways_of_pytorch_score_alike() -> None:
    found = []
    for way in infer._WAYS[1:]:
        torch.manual_seed(0)
        found.append(scoring_step(arch="t3d_tiny", shape=SHAPE, way=way, device="cpu")())
    plain, half = found
    assert isinstance(plain, torch.Tensor)
    assert isinstance(half, torch.Tensor)
    assert 0 < (half - plain).abs().max() < 0.05 * plain.abs().max()


def test_an_engine_scores() -> None:
    """In int8, which goes through all that the others do; whether they compute the same is tested with the engines."""
    for package in ("openvino", "nncf"):
        pytest.importorskip(package)
    way = infer._ENGINE_WAYS[-1]
    assert (way.engine, way.precision) == ("openvino", None)
    scores = scoring_step(arch="t3d_tiny", shape=SHAPE, way=way, device="cpu")()
    assert isinstance(scores, torch.Tensor)
    assert scores.shape == (1, 400)
    assert scores.isfinite().all()


def test_the_literal_network_is_scored_with_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer, "torch_scorer", None)
    way = infer._WAYS[0]
    assert way.literal
    scores = scoring_step(arch="densenet3d_121", shape=SHAPE, way=way, device="cpu")()
    assert isinstance(scores, torch.Tensor)
    assert scores.shape == (1, 400)


def test_rows_and_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th arm takes n seconds, so that the first is ahead of all; engines compute what the folded network does."""
    instant = Instant()
    monkeypatch.setattr(infer, "measure", instant)
    monkeypatch.setattr(infer, "scoring_step", _scores_nothing)
    monkeypatch.setattr(infer, "_AIMED_AT", SHAPE)
    (table,) = bench_infer("t3d_121", SHAPE, rounds=1, threads=1, device="cpu")(LIMITS)
    assert instant.calls == [
        [
            *("literal", "PyTorch (folded)", "PyTorch (folded), bf16"),
            *("onnxruntime", "openvino", "openvino, bf16", "openvino, int8"),
        ]
    ]
    assert [row.limit for row in table.rows] == [2e9, 2e9, 4e9, 2e9, 2e9, 4e9, None]
    literal, folded, *engines = (row.flops for row in table.rows)
    assert literal is not None
    assert folded is not None
    assert literal > 2 * folded
    assert engines == [folded] * 5
    assert [(target.what, target.unit, target.bound) for target in table.targets] == [
        ("best float32 engine against literal", "x faster", 3.0),
        ("best float32 engine", "of the limit", 0.85),
        ("best bf16 engine against literal", "x faster", 6.0),
        ("best bf16 engine", "of the limit", 0.85),
        ("best int8 engine against literal", "x faster", 12.0),
    ]
    assert table.targets[0].reached == 1 / 2  # PyTorch is second
    assert table.targets[1].reached == pytest.approx(folded / 2 / 2e9)
    assert table.targets[2].reached == 1 / 3
    assert table.targets[4].reached == 1 / 7


def test_other_settings_have_no_targets_and_gpus_no_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    instant = Instant()
    monkeypatch.setattr(infer, "measure", instant)
    monkeypatch.setattr(infer, "scoring_step", _scores_nothing)
    (table,) = bench_infer("t3d_tiny", SHAPE, rounds=1, threads=1, device="cuda")(LIMITS)
    assert instant.calls == [["PyTorch (folded)", "PyTorch (folded), bf16"]]
    assert not table.targets
    assert not table.notes


def _scores_nothing(*, arch: str, shape: object, way: Way, device: str) -> object:
    return lambda: None
