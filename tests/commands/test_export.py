"""Export through the program: what is written, what scores with it, and what is refused."""

import csv
import json
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

import t3d as package
from program import NUM_TEST, Call, write_list
from t3d import cli
from t3d.errors import ConfigError
from t3d.inference.backends import base as export_engine
from t3d.models.checkpoints import file_hash
from t3d.run_files import WEIGHTS_NAME

ENGINES = {"openvino": ("openvino", ".xml"), "onnx": ("onnxruntime", ".onnx"), "torch": ("torch", ".pt2")}
needs_openvino = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("openvino", "nncf")), reason="openvino or nncf is not installed"
)


@pytest.fixture(scope="module")
def run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of few layers, for translating takes its time; tests may add exports to its folder."""
    return Path(shutil.copytree(small_run, tmp_path_factory.mktemp("exports") / "run"))


@pytest.fixture
def exported(run: Path, t3d: Call) -> Callable[..., Path]:
    """Export once for all tests."""

    def get(target: str = "openvino", precision: str = "float32") -> Path:
        for name in {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}.get(target, ()):
            if find_spec(name) is None:
                pytest.skip(f"{name} is not installed")
        path = run / f"weights-{target}-{precision}{ENGINES[target][1]}"
        if not path.exists():
            outcome = t3d("export", run, "--to", target, "--precision", precision)
            assert outcome.code == 0, outcome.err
            assert outcome.out.startswith(f"{path}: for {ENGINES[target][0]}, {precision}\n")
        return path

    return get


def _scores(folder: Path) -> list[list[float]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return [[float(row["score:a"]), float(row["score:b"])] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def eager(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[float]]:
    """Scores of the test videos by PyTorch."""
    folder = tmp_path_factory.mktemp("eager")
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(run), "--output", str(folder), "--workers", "0", "--accelerator", "cpu"])
    return _scores(folder)


@pytest.mark.parametrize("target", ENGINES)
def test_an_exported_file_is_evaluated_by_its_own_engine(
    target: str, exported: Callable[..., Path], eager: list[list[float]], t3d: Call, run: Path
) -> None:
    path = exported(target)
    outcome = t3d("evaluate", path, "--workers", 0)
    assert outcome.code == 0, outcome.err
    folder = path.with_suffix("")  # beside the run's own results, not over them
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["protocol"]["engine"] == ENGINES[target][0]
    assert metrics["protocol"]["precision"] == "float32"
    assert metrics["checkpoint"] == {"file": str(path), "sha256": file_hash(path)}
    told = metrics["export"]
    assert told["weights_sha256"] == file_hash(run / WEIGHTS_NAME)
    assert told["difference"] <= 1e-4
    assert told["compared"] == "4 clips of noise"
    assert told["command"] == f"t3d export {run} --to {target} --precision float32"
    found = _scores(folder)
    assert len(found) == NUM_TEST
    assert [scores == pytest.approx(expected, abs=1e-5) for scores, expected in zip(found, eager, strict=True)] == [
        True
    ] * NUM_TEST


@needs_openvino
def test_a_run_is_translated_on_the_fly(run: Path, dataset: Path, t3d: Call) -> None:
    video = dataset.parent / "clips" / "test3.mp4"
    flags = (run, video, "--json", "--workers", 0, "--accelerator", "cpu")
    plain, other = (json.loads(t3d("predict", *flags, *more).out) for more in ((), ("--engine", "openvino")))
    (expected,), (found,) = ([row["predictions"] for row in rows] for rows in (plain, other))
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in expected], abs=1e-5)


@needs_openvino
def test_int8_is_fitted_to_training_videos_and_says_so(run: Path, dataset: Path, t3d: Call, tmp_path: Path) -> None:
    output = tmp_path / "small.xml"
    outcome = t3d("export", run, "--precision", "int8", "--calibration-clips", 6, "--output", output, "--tolerance", 1)
    assert outcome.code == 0, outcome.err
    assert t3d("evaluate", output, "--workers", 0).code == 0
    metrics = json.loads((tmp_path / "small" / "metrics.json").read_text())
    assert metrics["protocol"]["precision"] == "int8"
    assert metrics["export"]["calibrated"] == f"6 clips of {dataset.parent} (train (column split))"
    assert metrics["export"]["compared"] == f"32 clips of other videos of {dataset.parent} (train (column split))"
    assert metrics["export"]["versions"].keys() >= {"t3d", "torch", "openvino", "nncf"}


@needs_openvino
def test_what_differs_too_much_is_not_left_behind(run: Path, t3d: Call, tmp_path: Path) -> None:
    outcome = t3d("export", run, "--tolerance", 0, "--output", tmp_path / "x.xml")
    assert outcome.code == 2
    assert "x.xml: not written: logits differ" in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_engine_that_is_not_installed_is_named_before_anything_is_decoded(
    precision: str, run: Path, t3d: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(export_engine, "version", absent)
    outcome = t3d("export", run, "--precision", precision, "--output", tmp_path / "x.xml")
    assert outcome.code == 2
    assert outcome.err == "t3d: error: openvino is not installed; install 't3d[openvino]'\n"
    assert list(tmp_path.iterdir()) == []


@needs_openvino
@pytest.mark.parametrize("prepared", [False, True])
def test_clips_of_test_videos_are_refused(prepared: bool, run: Path, dataset: Path, t3d: Call, tmp_path: Path) -> None:
    clips = dataset.parent / "clips"
    rows = [
        {"path": str(clips / f"test{index}.mp4"), "label": "ab"[index % 2], "split": "train", "group": str(index)}
        for index in range(2)
    ]
    other = write_list(tmp_path / "other.csv", rows)
    if prepared:
        assert t3d("data", "prepare", other, tmp_path / "out", "--short-side", 32, "--workers", 0).code == 0
        other = tmp_path / "out"
    outcome = t3d("export", run, "--precision", "int8", "--calibration", other, "--output", tmp_path / "x.xml")
    assert outcome.code == 2
    assert "2 of its training videos are test videos of the run, first" in outcome.err
    assert not (tmp_path / "x.xml").exists()


def test_other_training_videos_may_be_compared_on(run: Path, dataset: Path, t3d: Call, tmp_path: Path) -> None:
    flags = ("--to", "torch", "--calibration", dataset, "--output", tmp_path / "x.pt2")
    outcome = t3d("export", run, *flags)
    assert outcome.code == 0, outcome.err
    assert "of 32 clips of" in outcome.out.replace("\n", " ")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("export {run} --to onnx --precision int8", "--precision int8: --to onnx computes in float32"),
        ("export {run} --to onnx --output {run}/a.xml", "must end in .onnx"),
        ("export {run} --to torch --output {taken}", "exists; give --overwrite, or name another --output"),
        ("export {run}/absent", "no such run folder or weights file"),
        ("export {run} --calibration-clips 0", "--calibration-clips 0 must be at least 1"),
        ("export {run} --calibration-clips 64", "--calibration-clips 64 is for --precision int8"),
        ("export {run} --tolerance -1", "--tolerance -1.0 must be at least 0"),
        ("export {run} --to torch --calibration {run}/absent --output {run}/b.pt2", "absent"),
        ("evaluate {taken} --engine openvino", "is for torch; leave it out, or give the run instead"),
        ("evaluate {taken} --precision bf16-mixed", "has one of its own"),
        ("evaluate {taken} --devices 2", "is computed on one device"),
        ("evaluate {run} --engine openvino --devices 2", "--devices 2: --engine openvino uses one"),
        ("evaluate {run} --engine onnxruntime --accelerator cuda", "--engine onnxruntime computes on the CPU"),
        (
            "evaluate {run} --engine onnxruntime --precision bf16-mixed",
            "leave it out, or use --engine torch or openvino",
        ),
        ("export {taken}", "is of t3d export; give the run folder or weights file it was made of"),
        ("evaluate {run}/absent.xml", "absent.xml: no such file; t3d export writes one"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    line: str, says: str, run: Path, exported: Callable[..., Path], t3d: Call
) -> None:
    outcome = t3d(*line.format(run=run, taken=exported("torch")).split(), *(["--workers", "0"] * line.startswith("ev")))
    assert outcome.code == 2
    assert outcome.err.startswith("t3d: error: ")
    assert outcome.err.count("\n") == 1
    assert says in outcome.err


def test_an_export_of_weights_that_are_no_longer_there_is_used_with_a_warning(
    run: Path, dataset: Path, t3d: Call, tmp_path: Path
) -> None:
    own, video = Path(shutil.copytree(run, tmp_path / "run")), dataset.parent / "clips" / "test0.mp4"
    file = own / "network.pt2"
    export = ("export", own, "--to", "torch", "--output", file)
    assert t3d(*export).code == 0
    with safe_open(own / "weights.safetensors", framework="pt") as weights:
        tensors = {name: weights.get_tensor(name) * 3 for name in weights.keys()}  # noqa: SIM118  (not a dict)
        save_file(tensors, own / "weights.safetensors", metadata=weights.metadata())
    outdated = t3d("predict", file, video)
    assert outdated.code == 0
    assert "was exported from other weights than are there now; t3d export RUN --overwrite renews it" in outdated.err
    assert t3d(*export).code == 2
    assert t3d(*export, "--overwrite").code == 0
    renewed = t3d("predict", file, video)
    assert (renewed.code, renewed.err) == (0, "")
    assert renewed.out != outdated.out


def test_python_loads_what_was_exported(exported: Callable[..., Path], run: Path, dataset: Path) -> None:
    path = exported("torch")
    video = dataset.parent / "clips" / "test0.mp4"
    expected = package.load(run, device="cpu").predict(video)
    found = package.load(path).predict(video)
    assert found.labels == expected.labels
    assert found.scores == pytest.approx(expected.scores, abs=1e-6)
    with pytest.raises(ConfigError, match="torch computes on the CPU"):
        package.load(path, device="cuda")
    with pytest.raises(ConfigError, match="--engine openvino"):
        package.load(path, engine="openvino")
