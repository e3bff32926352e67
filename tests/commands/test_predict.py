import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import t3d
from program import EXACT, NUM_TEST, Call
from t3d import cli
from t3d.video.decode import open_video
from t3d.video.spec import ViewSpec


@pytest.fixture(scope="module")
def rows(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What `t3d evaluate` wrote about every test video."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(small_run), "--output", str(folder), *EXACT, "--workers", "0"])
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def files(dataset: Path, rows: list[dict[str, str]]) -> list[Path]:
    return [dataset.parent / row["video"] for row in rows]


def _expected(row: dict[str, str]) -> dict[str, float]:
    return {label: float(row[f"score:{label}"]) for label in "ab"}


def test_json_equals_the_evaluation_exactly(
    small_run: Path, rows: list[dict[str, str]], files: list[Path], t3d: Call
) -> None:
    outcome = t3d("predict", small_run, *files, *EXACT, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    answers = json.loads(outcome.out)
    assert [answer["video"] for answer in answers] == [str(path) for path in files]
    for answer, row in zip(answers, rows, strict=True):
        assert {entry["label"]: entry["score"] for entry in answer["predictions"]} == _expected(row)
        assert answer["predictions"][0]["label"] == row["predicted"]
        assert answer["clips"] == int(row["num_views"])


def test_csv_equals_the_evaluation_exactly(
    small_run: Path, rows: list[dict[str, str]], files: list[Path], t3d: Call
) -> None:
    answers = list(csv.DictReader(io.StringIO(t3d("predict", small_run, *files, *EXACT, "--csv", "--workers", 0).out)))
    assert [answer["rank"] for answer in answers] == ["1", "2"] * NUM_TEST
    for path, row in zip(files, rows, strict=True):
        scores = {answer["label"]: float(answer["score"]) for answer in answers if answer["video"] == str(path)}
        assert scores == _expected(row)


def test_python_equals_the_evaluation_exactly(small_run: Path, rows: list[dict[str, str]], files: list[Path]) -> None:
    path, row, views = files[3], rows[3], ViewSpec(batch_size=1)
    loaded = t3d.load(small_run, device=torch.device("cpu"))
    with open_video(path) as video:
        frames = video.frames(range(len(video)))
    answers = [t3d.predict(small_run, str(path), views=views)]
    answers += [loaded.predict(pixels, views=views) for pixels in (frames, np.asarray(frames))]
    for answer in answers:
        assert dict(zip(answer.labels, answer.scores, strict=True)) == _expected(row)


def test_table_shows_every_video_and_the_best_class(
    small_run: Path, rows: list[dict[str, str]], files: list[Path], t3d: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    out = t3d("predict", small_run, *files, "--top", 1).out
    for path, row in zip(files, rows, strict=True):
        line = next(line for line in out.splitlines() if str(path) in line)
        assert row["predicted"] in line.split()
        assert f"{max(_expected(row).values()):.1%}" in line
    assert "top 2" not in out


def test_folder_stands_for_its_videos_in_order(small_run: Path, dataset: Path, t3d: Call) -> None:
    answers = json.loads(t3d("predict", small_run, dataset.parent, "--json").out)
    assert [Path(answer["video"]).name for answer in answers] == [
        *(f"test{index}.mp4" for index in range(NUM_TEST)),
        *(f"train{index}.mp4" for index in range(8)),
    ]


def test_broken_video_does_not_keep_the_others_from_being_predicted(
    small_run: Path, files: list[Path], t3d: Call, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("not a video")
    outcome = t3d("predict", small_run, files[0], broken, files[1], "--json", "--workers", 1)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith(f"t3d: error: {broken}: ")
    answers = json.loads(outcome.out)
    assert [bool(answer["error"]) for answer in answers] == [False, True, False]
    assert [len(answer["predictions"]) for answer in answers] == [2, 0, 2]


def test_timeline_writes_a_row_a_clip_a_picture_and_a_copy(
    small_run: Path, files: list[Path], t3d: Call, tmp_path: Path
) -> None:
    outcome = t3d("predict", small_run, files[4], "--timeline", tmp_path / "timeline")
    assert outcome.code == 0
    names = [f"test4.mp4.{kind}" for kind in ("annotated.mp4", "timeline.csv", "timeline.png")]
    assert sorted(path.name for path in (tmp_path / "timeline").iterdir()) == names
    with (tmp_path / "timeline" / names[1]).open(newline="") as file:
        assert [row["start_seconds"] for row in csv.DictReader(file)] == ["0.000", "0.160", "0.320"]  # 4 of 25 a second
    with open_video(tmp_path / "timeline" / names[0]) as copy:
        assert len(copy) == 12


def test_weights_file_needs_nothing_beside_it(small_run: Path, files: list[Path], t3d: Call, tmp_path: Path) -> None:
    alone = shutil.copy(small_run / "weights.safetensors", tmp_path / "alone.safetensors")
    assert t3d("predict", alone, files[0], "--json").out == t3d("predict", small_run, files[0], "--json").out
