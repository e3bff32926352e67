import json
from pathlib import Path

from program import Call


def _write(folder: Path, *, split: int, seed: int, top1: float, dataset: str = "clips") -> Path:
    folder.mkdir()
    metrics = {
        "model": {"arch": "t3d_tiny"},
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
    assert {line.count("|") for line in lines} == {11}


def test_different_data_have_no_common_mean(t3d: Call, tmp_path: Path) -> None:
    runs = [_write(tmp_path / name, split=1, seed=0, top1=0.5, dataset=name) for name in ("one", "two")]
    assert "mean of" not in t3d("compare", *runs).out


def test_evaluated_run_can_be_compared(trained: Path, t3d: Call, tmp_path: Path) -> None:
    assert t3d("evaluate", trained, "--output", tmp_path, "--workers", 0).code == 0
    assert f"| {tmp_path} | " in t3d("compare", tmp_path).out


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
