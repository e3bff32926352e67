import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from program import Call, write_list
from t3d.evaluation.metrics import VideoResult
from t3d.evaluation.predictions import write_predictions


def _write(folder: Path, *, split: int, seed: int, top1: float, dataset: str = "clips", arch: str = "t3d_tiny") -> Path:
    folder.mkdir()
    metrics = {
        "model": {"arch": arch},
        "dataset": {"name": dataset, "split_number": split},
        "protocol": {"views": "centre"},
        "seed": seed,
        "video": {"top1": top1, "top5": 1.0, "mean_class": top1, "num_videos": 4},
        "clip": {"top1": None},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_mean_and_deviation_over_splits(t3d: Call, tmp_path: Path) -> None:
    runs = [_write(tmp_path / str(split), split=split, seed=0, top1=split / 4) for split in (1, 2, 3)]
    outcome = t3d("compare", *runs, "--output", tmp_path / "table.md")
    assert outcome.code == 0
    assert (tmp_path / "table.md").read_text() == outcome.out
    mean = outcome.out.splitlines()[-1]
    assert "mean of 3" in mean
    assert "1, 2, 3" in mean
    assert "50.00% ± 25.00%" in mean


def test_rows_have_as_many_cells_as_the_head(t3d: Call, tmp_path: Path) -> None:
    runs = [_write(tmp_path / str(seed), split=1, seed=seed, top1=0.5) for seed in (0, 1)]
    lines = t3d("compare", *runs).out.splitlines()
    assert {line.count("|") for line in lines} == {12}


def test_what_computed_the_scores_is_said(t3d: Call, tmp_path: Path) -> None:
    runs = [_write(tmp_path / str(seed), split=1, seed=seed, top1=0.5) for seed in (0, 1)]
    metrics = json.loads((runs[1] / "metrics.json").read_text())
    metrics["protocol"] |= {"engine": "openvino", "precision": "int8"}
    (runs[1] / "metrics.json").write_text(json.dumps(metrics))
    rows = t3d("compare", *runs).out.splitlines()
    assert "| torch |" in rows[2]
    assert "| openvino, int8 |" in rows[3]


def test_different_data_have_no_common_mean(t3d: Call, tmp_path: Path) -> None:
    runs = [_write(tmp_path / name, split=1, seed=0, top1=0.5, dataset=name) for name in ("one", "two")]
    assert "mean of" not in t3d("compare", *runs).out


def test_evaluated_run_can_be_compared(trained: Path, t3d: Call, tmp_path: Path) -> None:
    assert t3d("evaluate", trained, "--output", tmp_path, "--workers", 0).code == 0
    assert f"| {tmp_path} | " in t3d("compare", tmp_path).out


@pytest.mark.parametrize(
    ("older", "newer", "alike"),
    [
        ("32-true", "float32", True),
        ("bf16-mixed", "bf16", True),
        ("16-mixed", "fp16", True),
        ("32-true", "bf16", False),
    ],
)
def test_older_files_name_precisions_as_flags_do_and_no_engine(
    older: str, newer: str, alike: bool, t3d: Call, tmp_path: Path
) -> None:
    runs = [_write(tmp_path / str(seed), split=1, seed=seed, top1=0.5) for seed in (0, 1)]
    for run, protocol in zip(runs, ({"precision": older}, {"precision": newer, "engine": "torch"}), strict=True):
        metrics = json.loads((run / "metrics.json").read_text())
        metrics["protocol"] |= protocol
        (run / "metrics.json").write_text(json.dumps(metrics))
    assert ("mean of 2" in t3d("compare", *runs).out) is alike


def test_unlike_protocols_have_no_common_mean(t3d: Call, tmp_path: Path) -> None:
    runs = [_write(tmp_path / str(seed), split=1, seed=seed, top1=0.5) for seed in (0, 1)]
    metrics = json.loads((runs[1] / "metrics.json").read_text())
    metrics["protocol"]["order"] = "shuffled"
    (runs[1] / "metrics.json").write_text(json.dumps(metrics))
    assert "mean of" not in t3d("compare", *runs).out


def test_half_a_metrics_file_is_refused(t3d: Call, tmp_path: Path) -> None:
    run = _write(tmp_path / "run", split=1, seed=0, top1=0.5)
    (run / "metrics.json").write_text(json.dumps({"video": {"top1": 1.0}, "dataset": {"name": "x"}}))
    outcome = t3d("compare", run)
    assert outcome.code == 2
    assert str(run / "metrics.json") in outcome.err


def _tested(folder: Path, right: str, *, seed: int = 0, kind: str = "csv", first: int = 0, **options: Any) -> Path:  # noqa: ANN401
    """A run that is right (1) or wrong (0) about videos of two classes in turn."""
    answers = [mark == "1" for mark in right]
    _write(folder, split=options.pop("split", 1), seed=seed, top1=sum(answers) / len(answers), **options)
    results = []
    for index, answer in enumerate(answers, start=first):
        scores = (0.75, 0.25) if answer == (index % 2 == 0) else (0.25, 0.75)
        name = f"{index:02}.mp4"
        results.append(VideoResult(video=name, label=index % 2, scores=scores, num_views=1, views_correct=int(answer)))
    write_predictions(folder, results, ("clap", "wave"), kind=kind)
    return folder


def _figures(t3d: Call, runs: Sequence[object], folder: Path) -> dict[str, Any]:
    outcome = t3d("compare", *runs, "--json", folder / "figures.json")
    assert outcome.code == 0
    figures: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return figures


def test_two_runs_are_compared_video_by_video(t3d: Call, tmp_path: Path) -> None:
    runs = _tested(tmp_path / "a", "1100000000"), _tested(tmp_path / "b", "0111111110", kind="parquet")
    figures = _figures(t3d, runs, tmp_path)
    (pair,) = figures["pairs_of_runs"]
    assert (pair["first"], pair["second"]) == tuple(map(str, runs))
    assert pair["counts"] == {"both": 1, "only_first": 1, "only_second": 7, "neither": 1}
    assert pair["difference"] == pytest.approx(0.6)
    assert pair["p"] == pair["p_holm"] == pytest.approx(2 * (1 + 8) / 2**8)
    assert pair["verdict"] == "no difference shown"
    assert figures["pairs_of_kinds"] == []
    assert [row["run"] for row in figures["runs"]] == [str(run) for run in runs]
    text = t3d("compare", *runs, "--output", tmp_path / "table.md").out
    assert f"| {runs[0]} | {runs[1]} | 10 | 1 | 1 | 7 | 1 | +60.00 | " in text
    assert "no difference shown" in text
    assert (tmp_path / "table.md").read_text() == text


def test_a_clear_difference_is_named(t3d: Call, tmp_path: Path) -> None:
    runs = _tested(tmp_path / "a", "0" * 10), _tested(tmp_path / "b", "1" * 10)
    assert "| +100.00 | +100.00 to +100.00 |  | 0.0020 | 0.0020 | B better |" in t3d("compare", *runs).out


def test_flips_list_every_video_runs_disagree_on(t3d: Call, tmp_path: Path) -> None:
    runs = _tested(tmp_path / "a", "1101"), _tested(tmp_path / "b", "1011")
    outcome = t3d("compare", *runs, "--flips", tmp_path / "flips.csv")
    assert "2 runs disagree on 2 of 4 videos" in outcome.out
    assert "- 01.mp4 (wave): right in 1 of 2" in outcome.out
    with (tmp_path / "flips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["video"], row["label"], row["num_right"]) for row in rows] == [
        ("01.mp4", "wave", "1"),
        ("02.mp4", "clap", "1"),
    ]
    assert [rows[0][f"predicted:{run}"] for run in runs] == ["wave", "clap"]
    assert {rows[0][f"score:{run}"] for run in runs} == {"0.75"}


def test_many_flips_are_shown_in_part(t3d: Call, tmp_path: Path) -> None:
    runs = _tested(tmp_path / "a", "0" * 8), _tested(tmp_path / "b", "1" * 8)
    lines = t3d("compare", *runs).out.splitlines()
    assert lines[-2].startswith("- 04.mp4")
    assert lines[-1] == "- and 3 more; --flips FILE lists them"


def test_flips_of_different_tests_and_of_none(t3d: Call, tmp_path: Path) -> None:
    runs = [
        _tested(tmp_path / f"{arch}{split}", "10" if arch == "a" else "11", split=split, first=10 * split, arch=arch)
        for split in (1, 2)
        for arch in "ab"
    ]
    assert t3d("compare", *runs, "--flips", tmp_path / "flips.csv").code == 0
    with (tmp_path / "flips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["video"] for row in rows] == ["11.mp4", "21.mp4"]
    assert [rows[0][f"predicted:{run}"] for run in runs] == ["clap", "wave", "", ""]
    assert t3d("compare", runs[0], "--flips", tmp_path / "flips.csv").code == 0
    assert (tmp_path / "flips.csv").read_text() == "video,label,num_right\n"


def test_runs_on_other_videos_are_named_and_not_paired(t3d: Call, tmp_path: Path) -> None:
    runs = _tested(tmp_path / "a", "11"), _tested(tmp_path / "b", "10"), _tested(tmp_path / "c", "11", first=2)
    outcome = t3d("compare", *runs)
    assert outcome.code == 0
    assert f"not compared video by video: {runs[2]}" in " ".join(outcome.err.split())
    assert f"| {runs[0]} | {runs[1]} | 2 |" in outcome.out
    assert str(runs[2]) not in outcome.out.partition("##")[2]


def test_a_run_without_predictions_is_only_tabled(t3d: Call, tmp_path: Path) -> None:
    runs = _tested(tmp_path / "a", "11"), _write(tmp_path / "b", split=1, seed=0, top1=0.5)
    outcome = t3d("compare", *runs)
    assert outcome.code == 0
    assert f"{runs[1]}: no predictions" in outcome.err
    assert f"t3d evaluate {runs[1]} makes them" in " ".join(outcome.err.split())
    assert "##" not in outcome.out


def test_damaged_predictions_are_refused(t3d: Call, tmp_path: Path) -> None:
    runs = _tested(tmp_path / "a", "11"), _tested(tmp_path / "b", "10")
    (runs[1] / "predictions.csv").write_text("video,label\n")
    outcome = t3d("compare", *runs, "--output", tmp_path / "table.md")
    assert outcome.code == 2
    assert str(runs[1] / "predictions.csv") in outcome.err
    assert not (tmp_path / "table.md").exists()


def test_repeated_runs_are_compared_as_such(t3d: Call, tmp_path: Path) -> None:
    """Differences of 1/4, 1/2 and 1/4: see the test of `compare_experiments`. The fourth has no counterpart."""
    runs = [_tested(tmp_path / f"a{seed}", "1100", seed=seed, arch="a") for seed in range(4)]
    runs += [
        _tested(tmp_path / f"b{seed}", right, seed=seed, arch="b")
        for seed, right in enumerate(["1110", "1111", "1101"])
    ]
    figures = _figures(t3d, runs, tmp_path)
    (pair,) = figures["pairs_of_kinds"]
    assert (pair["first"], pair["second"], pair["num_runs"]) == ("a", "b", 3)
    assert pair["counts"] == {"both": 6, "only_first": 0, "only_second": 4, "neither": 2}
    assert pair["difference"] == pytest.approx(1 / 3)
    assert pair["p"] == pytest.approx(1 - 4 / 18**0.5)
    assert figures["pairs_of_runs"] == []
    assert [mean["kind"] for mean in figures["means"]] == ["a", "b"]
    assert figures["means"][1]["mean_and_deviation"]["top1"] == pytest.approx([5 / 6, 0.25 / 3**0.5])
    text = t3d("compare", *runs).out
    assert "| a | b | 3 | 12 | 0 | 4 | 0.1250 | +33.33 |" in text
    assert "7 runs disagree on 2 of 4 videos" in text


def test_a_run_of_a_kind_that_was_not_repeated_has_rows_of_its_own(t3d: Call, tmp_path: Path) -> None:
    runs = [_tested(tmp_path / f"{arch}{seed}", "1100", seed=seed, arch=arch) for arch in "ab" for seed in (0, 1)]
    runs.append(_tested(tmp_path / "c0", "1110", arch="c"))
    figures = _figures(t3d, runs, tmp_path)
    assert [(pair["first"], pair["second"]) for pair in figures["pairs_of_kinds"]] == [("a", "b")]
    assert [(pair["first"], pair["second"]) for pair in figures["pairs_of_runs"]] == [(str(runs[0]), str(runs[4]))]
    figures = _figures(t3d, [*runs, "--baseline", runs[4]], tmp_path)
    assert figures["pairs_of_kinds"] == []
    assert [pair["second"] for pair in figures["pairs_of_runs"]] == [str(run) for run in runs[:4]]


def test_a_second_run_of_the_same_seed_is_named_and_the_first_is_compared(t3d: Call, tmp_path: Path) -> None:
    runs = [
        _tested(tmp_path / f"{arch}{seed}", "1100" if arch == "a" else "1110", seed=seed, arch=arch)
        for arch in "ab"
        for seed in (0, 1)
    ]
    again = _tested(tmp_path / "again", "0000", seed=1, arch="b")
    outcome = t3d("compare", *runs, again, "--json", tmp_path / "figures.json")
    said = f"{again}: like {runs[3]} in everything, split and seed too"
    assert [line.startswith(f"warning: {said}") for line in outcome.err.splitlines()] == [True]
    (pair,) = json.loads((tmp_path / "figures.json").read_text())["pairs_of_kinds"]
    assert pair["counts"] == {"both": 4, "only_first": 0, "only_second": 2, "neither": 2}
    assert "warning" not in t3d("compare", *runs).err


@pytest.mark.parametrize(("num_runs", "num_pairs"), [(4, 6), (5, 4)])
def test_few_runs_are_set_against_each_other_and_many_against_the_first(
    num_runs: int, num_pairs: int, t3d: Call, tmp_path: Path
) -> None:
    runs = [_tested(tmp_path / str(index), "1010", arch=str(index)) for index in range(num_runs)]
    pairs = _figures(t3d, runs, tmp_path)["pairs_of_runs"]
    assert len(pairs) == num_pairs
    assert {pair["p_holm"] for pair in pairs} == {1.0}


def test_baseline_is_what_all_others_are_set_against(t3d: Call, tmp_path: Path) -> None:
    runs = [_tested(tmp_path / str(index), "1010", arch=str(index)) for index in range(3)]
    pairs = _figures(t3d, [*runs, "--baseline", runs[1]], tmp_path)["pairs_of_runs"]
    assert [(pair["first"], pair["second"]) for pair in pairs] == [(str(runs[1]), str(runs[index])) for index in (0, 2)]
    for flags in (["--baseline", tmp_path], [runs[0]]):
        assert t3d("compare", *runs, *flags).code == 2


def test_other_training_is_another_kind_and_another_seed_is_not(t3d: Call, tmp_path: Path) -> None:
    flags = ["--seed 0 --output a", "--seed=1 --output=b --overwrite", "--lr 1 --seed 0", "--lr 1 --seed 1 --output x"]
    flags += ["--seed 0 --init imagenet.pth", "--seed 1 --init imagenet.pth"]
    runs = []
    for index, words in enumerate(flags):
        run = _write(tmp_path / str(index), split=1, seed=index % 2, top1=0.5)
        metrics = json.loads((run / "metrics.json").read_text())
        published = [{"file": "imagenet.pth", "command": None}] if "imagenet" in words else None
        metrics["training"] = {"command": f"t3d train data {words}", "preset": "quick", "lineage": published}
        (run / "metrics.json").write_text(json.dumps(metrics))
        runs.append(run)
    lines = t3d("compare", *runs).out.splitlines()
    assert [line.split("|")[1] for line in lines[-3:]] == [
        " **mean of 2**, t3d_tiny, like 0 ",
        " **mean of 2**, t3d_tiny, like 2 ",
        " **mean of 2**, t3d_tiny, like 4 ",
    ]


def _list_in_pairs(folder: Path, runs: Sequence[Path], *, tested: str, other: str, subset: str) -> None:
    """Write the list the runs were tested on: six videos of one split, two of another, two videos a group."""
    splits = [tested] * 6 + [other] * 2
    rows = [
        {"path": f"{index:02}.mp4", "label": ("clap", "wave")[index % 2], "split": split, "group": f"g{index // 2}"}
        for index, split in enumerate(splits)
    ]
    write_list(folder / "clips.csv", rows)
    for row in rows:
        (folder / row["path"]).touch()
    for run in runs:
        metrics = json.loads((run / "metrics.json").read_text())
        metrics["dataset"] |= {"root": str(folder), "format": "csv", "subset": subset}
        (run / "metrics.json").write_text(json.dumps(metrics))


def test_groups_come_from_the_list_of_the_dataset(t3d: Call, tmp_path: Path) -> None:
    runs = _tested(tmp_path / "a", "000000"), _tested(tmp_path / "b", "110000")
    _list_in_pairs(tmp_path, runs, tested="test", other="train", subset="test")
    (pair,) = _figures(t3d, runs, tmp_path)["pairs_of_runs"]
    assert pair["interval"][1] < pair["interval_by_group"][1] == 1.0
    (tmp_path / "clips.csv").unlink()
    outcome = t3d("compare", *runs)
    assert "taken to be independent" in " ".join(outcome.err.split())
    assert outcome.code == 0


def test_carved_validation_videos_keep_their_groups(t3d: Call, tmp_path: Path) -> None:
    """The list has no validation part; the runs were tested on four of its training videos, two of a group."""
    runs = _tested(tmp_path / "a", "0000"), _tested(tmp_path / "b", "1100")
    _list_in_pairs(tmp_path, runs, tested="train", other="test", subset="validation")
    outcome = t3d("compare", *runs, "--json", tmp_path / "figures.json")
    assert "independent" not in outcome.err
    (pair,) = json.loads((tmp_path / "figures.json").read_text())["pairs_of_runs"]
    assert pair["interval_by_group"] == [0.0, 1.0]  # of two groups, one is all right and one all wrong
