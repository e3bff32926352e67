import pytest

from instant import LIMITS, Instant
from t3d.bench import experiments
from t3d.bench.experiments import (
    PLAIN,
    TRAINING,
    Experiment,
    Work,
    run_experiments,
    scoring_experiment,
    training_experiment,
)
from t3d.bench.rounds import Variant

SHAPE = (2, 3, 16, 32, 32)


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> Instant:
    measure = Instant(run=False)
    monkeypatch.setattr(experiments, "measure", measure)
    monkeypatch.setattr(experiments, "measure_limits", lambda **_: LIMITS)
    return measure


def _work(name: str, flops: int | None = None) -> Work:
    return Work(variant=Variant(name=name, build=list), flops=flops, precision="float32")


def test_the_time_of_all_is_said_after_the_first_variant(instant: Instant, caplog: pytest.LogCaptureFixture) -> None:
    """A variant takes 1 s to build, a step of the first 2 s and one with ten times the operations 20 s."""
    first = Experiment(title="first", work=[_work("a", 1), _work("b", 10)], rounds=5)
    second = Experiment(title="second", work=[_work("c", 1)], rounds=3, shortest_seconds=4.0)
    with caplog.at_level("INFO", logger="t3d.bench"):
        rows, limits = run_experiments([first, second], threads=1, limits_of="cpu")
    expected = (2 * 1 + 5 * (2 + 20)) + (1 + 3 * 4)
    said = [record.message for record in caplog.records]
    assert any(text.startswith(f"about {expected / 60:.0f} min in all") for text in said)
    assert said[1] == "table 1 of 2: first"
    assert "left" in said[3]
    assert limits == LIMITS
    assert [[row.measured.name for row in own] for own in rows] == [["a", "b"], ["c"]]
    assert rows[0][0].limit == 2e9  # the better of product and convolution


def test_training_settings_are_those_the_network_and_processor_have(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "skipped: no bf16 units"
    monkeypatch.setattr(experiments, "bf16_missing", lambda device: missing)
    experiment = training_experiment("t3d_tiny", SHAPE, (PLAIN, *TRAINING), rounds=1, device="cpu")
    assert {one.variant.name: one.variant.skip for one in experiment.work} == {
        "plain": "",
        "accelerated": "",
        "accelerated, recompute": "",
        "accelerated, bf16": missing,
        "accelerated, bf16, channels last": missing,
    }
    plain, accelerated, recomputed, *_ = (one.flops for one in experiment.work)
    assert accelerated < plain  # averages before convolutions
    assert accelerated < recomputed < 4 / 3 * accelerated  # at most the forward pass once more
    resnet = training_experiment("resnet3d_tiny", SHAPE, TRAINING, rounds=1, device="cpu")
    assert "accelerated, recompute" not in [one.variant.name for one in resnet.work]


def test_every_engine_and_precision_scores_on_the_cpu_and_pytorch_on_a_gpu(
    instant: Instant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments, "unavailable", lambda settings, device: "")
    experiment = scoring_experiment("t3d_tiny", "t3d_tiny", SHAPE, rounds=1, device="cpu")
    names = [one.variant.name for one in experiment.work]
    assert names[:2] == ["PyTorch", "PyTorch, bf16"]
    assert set(names[2:]) == {"onnxruntime", "openvino", "openvino, bf16", "openvino, int8"}
    assert len({one.flops for one in experiment.work}) == 1
    (rows,), _ = run_experiments([experiment], threads=1, limits_of="cpu")
    limits = {row.measured.name: row.limit for row in rows}
    assert (limits["PyTorch"], limits["openvino, bf16"], limits["openvino, int8"]) == (2e9, 4e9, None)
    on_gpu = scoring_experiment("t3d_tiny", "t3d_tiny", SHAPE, rounds=1, device="cuda")
    assert [one.variant.name for one in on_gpu.work] == ["PyTorch", "PyTorch, bf16"]
