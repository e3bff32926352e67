"""Two runs as one: from training to a fused report, with weights from videos that neither has learnt from."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from program import MICRO, NUM_TEST, Call
from t3d import cli
from t3d.evaluation.predictions import read_predictions, write_predictions

Runs = tuple[Path, Path]


def _done(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    assert ended.value.code == 0


@pytest.fixture(scope="module")
def streams(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A run of pictures and one of flow, scored on test and on held-out videos; tests must not change them."""
    root = tmp_path_factory.mktemp("streams")
    for modality in ("rgb", "flow"):
        folder = root / modality
        flags = ("--modality", modality, "--max-steps", 8, "--select-on", "validation", "--validation-fraction", 0.5)
        _done("train", dataset, "--output", folder, *MICRO, *flags)
        _done("evaluate", folder, "--workers", 0)
        _done("evaluate", folder, "--subset", "validation", "--workers", 0)
    return root / "rgb", root / "flow"


@pytest.fixture
def copied(streams: Runs, tmp_path: Path) -> Runs:
    """The same, to be changed."""
    return shutil.copytree(streams[0], tmp_path / "rgb"), shutil.copytree(streams[1], tmp_path / "flow")


def _chances(folder: Path) -> np.ndarray:
    """What a run gives the label of each video."""
    with (folder / "predictions.csv").open(newline="") as file:
        return np.array([float(row[f"score:{row['label']}"]) for row in csv.DictReader(file)])


def _metrics(folder: Path) -> dict[str, object]:
    values: dict[str, object] = json.loads((folder / "metrics.json").read_text())
    return values


def test_weights_come_from_the_held_out_videos_and_scores_are_their_mean(
    streams: Runs, t3d: Call, tmp_path: Path
) -> None:
    outcome = t3d("fuse", *streams, "--output", tmp_path)
    assert outcome.code == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    weights = [row["weight"] for row in metrics["fusion"]["runs"]]
    held_out = [_chances(run / "validation") for run in streams]
    shares = np.linspace(0, 1, 2001)
    losses = [-np.log(share * held_out[0] + (1 - share) * held_out[1]).mean() for share in shares]
    assert weights == pytest.approx([shares[np.argmin(losses)], 1 - shares[np.argmin(losses)]], abs=2e-3)
    assert f"{weights[0]:.3f} x {streams[0]}" in outcome.out
    expected = weights[0] * _chances(streams[0]) + weights[1] * _chances(streams[1])
    assert _chances(tmp_path) == pytest.approx(expected, abs=1e-12)
    assert metrics["video"]["top1"] == (expected > 0.5).sum() / NUM_TEST  # of two classes


def test_the_result_says_what_it_is_made_of(streams: Runs, t3d: Call, tmp_path: Path) -> None:
    assert t3d("fuse", *streams, "--output", tmp_path).code == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    parts = [_metrics(run) for run in streams]
    assert [row["checkpoint"] for row in metrics["fusion"]["runs"]] == [part["checkpoint"] for part in parts]
    assert [row["file"] for row in metrics["training"]["lineage"]] == [
        str(run / "weights.safetensors") for run in streams
    ]
    assert metrics["fusion"]["origin"].startswith("fitted on 4 videos, validation: 4 of 8 groups of ")
    assert (metrics["seed"], metrics["dataset"], metrics["clip"]["top1"]) == (0, parts[0]["dataset"], None)
    page = (tmp_path / "report.html").read_text()
    assert "fitted on 4 videos" in page
    assert f" x {streams[1]}" in page
    assert f"| {tmp_path} | " in t3d("compare", *streams, tmp_path).out


def test_without_validation_predictions_weights_are_equal_and_the_result_says_so(
    copied: Runs, t3d: Call, tmp_path: Path
) -> None:
    shutil.rmtree(copied[1] / "validation")
    outcome = t3d("fuse", *copied, "--output", tmp_path / "out")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [row["weight"] for row in metrics["fusion"]["runs"]] == [0.5, 0.5]
    said = f"the weights are equal, for {copied[1]} has no validation predictions"
    assert said in outcome.err
    assert metrics["warnings"][-1].startswith(said)
    assert _chances(tmp_path / "out") == pytest.approx((_chances(copied[0]) + _chances(copied[1])) / 2)


def test_what_the_validation_videos_were_warned_of_is_said_of_the_fusion(
    copied: Runs, t3d: Call, tmp_path: Path
) -> None:
    file = copied[1] / "validation" / "metrics.json"
    metrics = json.loads(file.read_text())
    metrics["warnings"].append("1 of 4 videos were trained on: the accuracy is too high")
    file.write_text(json.dumps(metrics))
    outcome = t3d("fuse", *copied, "--output", tmp_path / "out")
    assert outcome.code == 0
    said = f"weights were fitted on {file.parent}: 1 of 4 videos were trained on: the accuracy is too high"
    assert said in outcome.err
    parts = [line for run in copied for line in _metrics(run)["warnings"]]  # type: ignore[attr-defined]
    assert _metrics(tmp_path / "out")["warnings"] == [*dict.fromkeys(parts), said]


def test_a_trained_run_is_not_written_over(copied: Runs, streams: Runs, t3d: Call) -> None:
    before = (copied[0] / "metrics.json").read_bytes()
    outcome = t3d("fuse", *streams, "--output", copied[0])
    assert outcome.code == 2
    assert outcome.err.strip().endswith(f"--output {copied[0]}: is the folder of a trained run; name another folder")
    assert (copied[0] / "metrics.json").read_bytes() == before


def test_weights_may_be_given_and_sum_to_one(streams: Runs, t3d: Call, tmp_path: Path) -> None:
    outcome = t3d("fuse", *streams, "--output", tmp_path, "--weights", 1, 3)
    assert "given by hand" in outcome.out
    assert _chances(tmp_path) == pytest.approx(0.25 * _chances(streams[0]) + 0.75 * _chances(streams[1]))


def test_a_video_that_one_run_could_not_decode_is_wrong_and_named(copied: Runs, t3d: Call, tmp_path: Path) -> None:
    results, labels = read_predictions(copied[1])
    broken = replace(results[0], scores=(), num_views=0, views_correct=0, error="test0.mp4: truncated")
    write_predictions(copied[1], [broken, *results[1:]], labels)
    outcome = t3d("fuse", *copied, "--output", tmp_path / "out")
    assert outcome.code == 1
    assert "counted as wrong: test0.mp4: truncated" in outcome.err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["undecodable"] == ["test0.mp4: truncated"]
    fused, _ = read_predictions(tmp_path / "out")
    assert [row.scores == () for row in fused] == [True, *(len(results) - 1) * [False]]
    assert metrics["video"]["top1"] == sum(row.within(1) for row in fused[1:]) / NUM_TEST


def test_parquet_of_other_order_is_the_same(copied: Runs, t3d: Call, tmp_path: Path) -> None:
    assert t3d("fuse", *copied, "--output", tmp_path / "one").code == 0
    results, labels = read_predictions(copied[1])
    (copied[1] / "predictions.csv").unlink()
    write_predictions(copied[1], results[::-1], labels, kind="parquet")
    assert t3d("fuse", *copied, "--output", tmp_path / "two").code == 0
    assert (tmp_path / "one" / "predictions.csv").read_bytes() == (tmp_path / "two" / "predictions.csv").read_bytes()


def _lose_a_video(run: Path) -> None:
    results, labels = read_predictions(run)
    write_predictions(run, results[1:], labels)


def _relabel(run: Path) -> None:
    results, labels = read_predictions(run)
    write_predictions(run, [replace(results[0], label=1 - results[0].label), *results[1:]], labels)


def _rename_class(run: Path) -> None:
    results, _ = read_predictions(run)
    write_predictions(run, results, ("a", "zebra"))


def _forget_predictions(run: Path) -> None:
    (run / "predictions.csv").unlink()


def _train_again(run: Path) -> None:
    metrics = _metrics(run / "validation")
    (run / "validation" / "metrics.json").write_text(json.dumps(metrics | {"checkpoint": {"sha256": "other"}}))


def _fit_on_test(run: Path) -> None:
    shutil.copytree(run, run / "test", ignore=shutil.ignore_patterns("validation"))
    shutil.rmtree(run / "validation")
    (run / "test").rename(run / "validation")


def _share_a_video(run: Path) -> None:
    (tested, labels), (held_out, _) = read_predictions(run), read_predictions(run / "validation")
    write_predictions(run / "validation", [tested[0], *held_out], labels)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_lose_a_video, "only one of them has clips/test0.mp4"),
        (_relabel, "the label of clips/test0.mp4"),
        (_rename_class, "classes 2 and 2, or other ones"),
        (_forget_predictions, "no predictions; run t3d evaluate first"),
        (_train_again, "of other weights than"),
        (_fit_on_test, "holds predictions of test videos; weights are fitted on validation videos only"),
        (_share_a_video, "clips/test0.mp4 is a test video, too"),
    ],
)
def test_runs_that_do_not_fit_are_refused_in_one_line(
    harm: Callable[[Path], None], reason: str, copied: Runs, t3d: Call, tmp_path: Path
) -> None:
    harm(copied[1])
    outcome = t3d("fuse", *copied, "--output", tmp_path / "out")
    assert outcome.code == 2
    assert reason in outcome.err
    assert str(copied[1]) in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_fusions_of_several_seeds_have_a_mean(streams: Runs, t3d: Call, tmp_path: Path) -> None:
    assert t3d("fuse", *streams, "--output", tmp_path / "one").code == 0
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    metrics = _metrics(tmp_path / "two")
    (tmp_path / "two" / "metrics.json").write_text(json.dumps(metrics | {"seed": "1 + 2"}))
    assert "mean of 2" in t3d("compare", tmp_path / "one", tmp_path / "two").out


def _as_seed(folder: Path, seed: int, fused: Path) -> Path:
    """The same fusion, said to be of another seed, with other weights if these were fitted."""
    shutil.copytree(fused, folder)
    metrics = _metrics(folder)
    if metrics["fusion"]["fitted"]:  # type: ignore[index]
        metrics["fusion"]["runs"][0]["weight"] /= 2  # type: ignore[index]
    (folder / "metrics.json").write_text(json.dumps(metrics | {"seed": seed}))
    return folder


def test_fusions_are_of_one_kind_if_their_weights_come_about_in_the_same_way(
    streams: Runs, t3d: Call, tmp_path: Path
) -> None:
    rules: dict[str, tuple[object, ...]] = {"fitted": (), "one": ("--weights", 1, 1), "three": ("--weights", 1, 3)}
    runs = []
    for name, flags in rules.items():
        assert t3d("fuse", *streams, "--output", tmp_path / name, *flags).code == 0
        runs += [tmp_path / name, _as_seed(tmp_path / f"{name}-again", 1, tmp_path / name)]
    outcome = t3d("compare", *runs, "--json", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [mean["runs"] for mean in figures["means"]] == [[str(tmp_path / n), f"{tmp_path / n}-again"] for n in rules]
    assert [pair["num_runs"] for pair in figures["pairs_of_kinds"]] == [2, 2, 2]
    assert outcome.err == ""


def test_a_folder_that_was_not_evaluated_is_named(streams: Runs, t3d: Call, tmp_path: Path) -> None:
    outcome = t3d("fuse", streams[0], tmp_path, "--output", tmp_path / "out")
    assert outcome.code == 2
    assert f"{tmp_path / 'metrics.json'}: no metrics" in outcome.err
