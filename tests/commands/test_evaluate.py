import csv
import json
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from program import EXACT, FEW, MICRO, NUM_TEST, Call, finish, start, write_list
from t3d import cli


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def evaluated(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.raises(SystemExit) as ended:
        cli.main(
            ["evaluate", str(small_run), "--output", str(folder), *EXACT, "--workers", "0", "--accelerator", "cpu"]
        )
    assert ended.value.code == 0
    return folder


def test_run_folder_holds_what_the_readme_promises(small_run: Path, t3d: Call, tmp_path: Path) -> None:
    """And says so where the training has not ended."""
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "training.json").unlink()
    outcome = t3d("evaluate", run, "--workers", 0)
    assert outcome.code == 0
    names = {"config.json", "weights.safetensors", "metrics.json", "predictions.csv", "report.html"}
    assert names <= {path.name for path in run.iterdir()}
    assert not list(run.rglob("*.partial*"))
    assert "has not ended" in outcome.err
    assert "has not ended" in json.loads((run / "metrics.json").read_text())["warnings"][0]


def test_other_arithmetic_leaves_the_results_of_a_run_alone(small_run: Path, t3d: Call, tmp_path: Path) -> None:
    run = shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("metrics.json", "torch-*"))
    flags = ("--precision", "bf16-mixed", "--accelerator", "cpu", "--workers", 0)
    assert t3d("evaluate", run, *flags).code == 0
    assert t3d("evaluate", run, *flags, "--subset", "train").code == 0
    assert not (run / "metrics.json").exists()
    for folder in (run / "torch-bf16", run / "torch-bf16" / "train"):
        assert json.loads((folder / "metrics.json").read_text())["protocol"]["precision"] == "bf16"


def test_metrics_are_the_fractions_of_the_predictions(evaluated: Path) -> None:
    metrics, rows = json.loads((evaluated / "metrics.json").read_text()), _rows(evaluated)
    assert metrics["schema_version"] == 1
    hits = [row["label"] == row["predicted"] for row in rows]
    assert metrics["video"]["top1"] == sum(hits) / NUM_TEST
    assert metrics["video"]["top5"] == 1.0  # of two classes
    by_class = [[hit for hit, row in zip(hits, rows, strict=True) if row["label"] == label] for label in "ab"]
    assert metrics["video"]["mean_class"] == pytest.approx(sum(sum(part) / len(part) for part in by_class) / 2)
    views = sum(int(row["num_views"]) for row in rows)
    assert views == metrics["clip"]["num_clips"] == sum((8 + index) // 4 for index in range(NUM_TEST))
    assert metrics["clip"]["top1"] == sum(int(row["views_correct"]) for row in rows) / views


def test_two_processes_give_the_digits_of_one(small_run: Path, dataset: Path, evaluated: Path, tmp_path: Path) -> None:
    """Children of the program, and siblings that torchrun starts, of which the second cannot decode a video."""
    shutil.copytree(dataset.parent, tmp_path / "data")
    (tmp_path / "data" / "clips" / "test1.mp4").write_bytes(b"")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "t3d"]
    flags = (*EXACT, "--devices", 2, "--accelerator", "cpu", "--workers", 0, "--output")
    broken = tmp_path / "data" / "videos.csv"
    started = (
        start("evaluate", small_run, *flags, tmp_path / "children"),
        start("evaluate", small_run, broken, *flags, tmp_path / "siblings", launcher=torchrun),
    )
    children, siblings = map(finish, started)
    assert children.code == 0, children.err
    assert children.err == f"report: {tmp_path / 'children' / 'report.html'}\n"
    assert children.out.count("video top-1") == siblings.out.count("video top-1") == 1
    assert (tmp_path / "children" / "predictions.csv").read_bytes() == (evaluated / "predictions.csv").read_bytes()
    assert siblings.err.count("counted as wrong") == 1
    expected, found = _rows(evaluated), _rows(tmp_path / "siblings")
    assert [row["video"] for row in found] == [f"clips/test{index}.mp4" for index in range(NUM_TEST)]
    assert [one == other for one, other in zip(expected, found, strict=True)] == [True, False, True, True, True]
    assert (tmp_path / "siblings" / "report.html").exists()


def test_undecodable_video_is_listed_and_counted_wrong(
    small_run: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    shutil.copytree(dataset.parent, tmp_path / "data")
    broken = tmp_path / "data" / "clips" / "test1.mp4"
    broken.write_bytes(broken.read_bytes()[:300])
    outcome = t3d("evaluate", small_run, tmp_path / "data" / "videos.csv", "--output", tmp_path / "out", "--workers", 0)
    assert outcome.code == 1
    assert str(broken) in outcome.err
    metrics, rows = json.loads((tmp_path / "out" / "metrics.json").read_text()), _rows(tmp_path / "out")
    assert [str(broken) in line for line in metrics["undecodable"]] == [True]
    assert [row["video"] for row in rows if row["error"]] == ["clips/test1.mp4"]
    hits = sum(row["label"] == row["predicted"] for row in rows)
    assert metrics["video"]["top1"] == hits / NUM_TEST
    assert str(broken) in (tmp_path / "out" / "report.html").read_text()


def test_views_are_clips_times_crops(small_run: Path, t3d: Call, tmp_path: Path) -> None:
    flags = ("--clips", 3, "--crops", 3, "--output", tmp_path, "--workers", 0)
    assert t3d("evaluate", small_run, *flags).code == 0
    assert {row["num_views"] for row in _rows(tmp_path)} == {"9"}
    assert json.loads((tmp_path / "metrics.json").read_text())["protocol"]["views"] == (
        "3 evenly spaced clips x 3 crops"
    )


def test_parquet_holds_the_same_and_replaces_the_csv(
    small_run: Path, evaluated: Path, t3d: Call, tmp_path: Path
) -> None:
    (tmp_path / "predictions.csv").write_text("of an earlier evaluation")
    flags = (*EXACT, "--predictions", "parquet", "--output", tmp_path, "--workers", 0)
    assert t3d("evaluate", small_run, *flags).code == 0
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert [row["video"] for row in rows] == [row["video"] for row in _rows(evaluated)]
    assert [row["score:a"] for row in rows] == [float(row["score:a"]) for row in _rows(evaluated)]
    assert not (tmp_path / "predictions.csv").exists()


def test_other_classes_are_refused(small_run: Path, dataset: Path, t3d: Call, tmp_path: Path) -> None:
    rows = [
        {"path": str(dataset.parent / "clips" / f"{split}{index}.mp4"), "label": label, "split": split, "group": group}
        for index, (split, label, group) in enumerate([("train", "a", "1"), ("train", "zebra", "2")])
    ]
    rows.append({"path": str(dataset.parent / "clips" / "test0.mp4"), "label": "a", "split": "test", "group": "3"})
    outcome = t3d("evaluate", small_run, write_list(tmp_path / "other.csv", rows), "--output", tmp_path / "out")
    assert outcome.code == 2
    assert "'b'" in outcome.err or "b)" in outcome.err
    assert not (tmp_path / "out").exists()


def test_selection_on_test_videos_is_printed_with_every_result(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = t3d("train", dataset, "--output", run, *MICRO, *FEW, "--max-steps", 1, "--select-on", "test")
    assert trained.code == 0
    assert "TEST" in trained.err
    assert t3d("evaluate", run, "--workers", 0).code == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert any("TEST" in line for line in metrics["warnings"])
    assert metrics["selection"] == "best epoch on test videos"
    assert "selected on the TEST videos" in (run / "report.html").read_text()


def test_training_videos_as_test_are_called_so(small_run: Path, t3d: Call, tmp_path: Path) -> None:
    assert t3d("evaluate", small_run, "--subset", "train", "--output", tmp_path, "--workers", 0).code == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert "these are train videos, not test videos" in metrics["warnings"]
    assert metrics["video"]["num_videos"] == 8


def test_testing_on_trained_videos_is_said_in_every_result(
    small_run: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    with dataset.open(newline="") as file:
        rows = list(csv.DictReader(file))
    listed = dataset.parent / "swapped.csv"
    with listed.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "split": "test" if row["split"] == "train" else "train"} for row in rows)
    outcome = t3d("evaluate", small_run, listed, "--output", tmp_path, "--workers", 0)
    listed.unlink()
    assert "were trained on" in outcome.err
    assert any("were trained on" in line for line in json.loads((tmp_path / "metrics.json").read_text())["warnings"])
    assert "were trained on" in (tmp_path / "report.html").read_text()


def _learnt(run: Path) -> set[str]:
    with (run / "trained_on.csv").open(newline="") as file:
        return {f"clips/{Path(row['path']).name}" for row in csv.DictReader(file)}


def test_held_out_videos_are_found_again(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    """Of the videos whose labels were used, which are three of each class."""
    run = tmp_path / "run"
    flags = (
        "--select-on",
        "validation",
        "--validation-fraction",
        0.4,
        "--seed",
        3,
        "--max-steps",
        1,
        "--labels-per-class",
        3,
    )
    assert t3d("train", dataset, "--output", run, *MICRO, *FEW, *flags).code == 0
    assert t3d("evaluate", run, "--subset", "validation", "--workers", 0).code == 0
    held_out, learnt = {row["video"] for row in _rows(run / "validation")}, _learnt(run)
    assert held_out.isdisjoint(learnt)
    assert len(held_out | learnt) == 6
    assert len(held_out) == 2
    assert not (run / "metrics.json").exists()  # the result is that of the test
    metrics = json.loads((run / "validation" / "metrics.json").read_text())
    assert metrics["dataset"]["subset"] == "validation"
    assert metrics["warnings"][0] == "these are validation videos, not test videos"
    assert not any("trained on" in line for line in metrics["warnings"])


def test_videos_are_not_carved_again_from_a_list_that_has_grown(dataset: Path, t3d: Call, tmp_path: Path) -> None:
    shutil.copytree(dataset.parent, tmp_path / "data")
    listed, run = tmp_path / "data" / "videos.csv", tmp_path / "run"
    flags = ("--select-on", "validation", "--validation-fraction", 0.4, "--max-steps", 1)
    assert t3d("train", listed, "--output", run, *MICRO, *FEW, *flags).code == 0
    with listed.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for index, label in ((8, "a"), (9, "b")):
        name = f"clips/train{index}.mp4"
        shutil.copy(listed.parent / rows[index - 8]["path"], listed.parent / name)
        rows.append({"path": name, "label": label, "split": "train", "group": f"train{index}"})
    write_list(listed, rows)
    outcome = t3d("evaluate", run, "--subset", "validation", "--workers", 0)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert f"{run}: clips/train" in line
    assert "was trained on (trained_on.csv), for the dataset has changed since; restore it, or train again" in line
    assert not (run / "validation").exists()


def test_files_of_weights_in_one_folder_keep_their_results(
    small_run: Path, evaluated: Path, t3d: Call, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        shutil.copy(small_run / "weights.safetensors", tmp_path / f"{name}.safetensors")
        assert t3d("evaluate", tmp_path / f"{name}.safetensors", *EXACT, "--workers", 0).code == 0
        predictions = (tmp_path / name / "predictions.csv").read_bytes()
        assert predictions == (evaluated / "predictions.csv").read_bytes()
        checkpoint = json.loads((tmp_path / name / "metrics.json").read_text())["checkpoint"]
        assert checkpoint["file"] == str(tmp_path / f"{name}.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "one.safetensors", "two", "two.safetensors"}
    assert t3d("evaluate", tmp_path / "one.safetensors", "--subset", "train", "--workers", 0).code == 0
    assert (tmp_path / "one" / "train" / "metrics.json").exists()


def test_a_run_that_held_out_nothing_has_no_validation_videos(small_run: Path, t3d: Call, tmp_path: Path) -> None:
    outcome = t3d("evaluate", small_run, "--subset", "validation", "--output", tmp_path / "out", "--workers", 0)
    assert outcome.code == 2
    assert f"{small_run}: held out no validation videos of its own; train with --select-on validation" in outcome.err
    assert not (tmp_path / "out").exists()


def test_other_data_are_not_carved(small_run: Path, dataset: Path, t3d: Call, tmp_path: Path) -> None:
    outcome = t3d("evaluate", small_run, dataset, "--subset", "validation", "--output", tmp_path / "out")
    assert outcome.code == 2
    assert "no validation videos, only test and train" in outcome.err
