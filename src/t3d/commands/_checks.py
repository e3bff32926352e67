"""Early checks, before a command is imported: unknown names, missing paths, wrong splits and files.

Importing PyTorch takes seconds, and bad input is refused without it. The command itself checks everything again.
Commands without a row in the table need no early check.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from t3d.config import (
    BenchConfig,
    CompareConfig,
    ConvertConfig,
    DataConfig,
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    FuseConfig,
    ModelsConfig,
    PipelineConfig,
    PredictConfig,
    PrepareConfig,
    TrainConfig,
    TransferConfig,
)
from t3d.config.fields import ARCHITECTURES, BUILT_IN, TEACHERS
from t3d.data.folders import VIDEO_SUFFIXES
from t3d.data.formats import load_videos
from t3d.data.reencoded import read_description
from t3d.data.samples import NoSuchSubsetError, Subset
from t3d.data.unlabelled import load_unlabelled
from t3d.errors import CheckpointError, ConfigError, DataError, unknown
from t3d.run_files import EXPORTED_SUFFIXES, WEIGHTS_NAME, card_text, check_run_folder, metadata_of, weights_file


def check(command: str, config: object) -> None:
    """Run the early checks of a command.

    Raises:
        T3DError: A name is unknown, a path missing or occupied, or a list or file malformed.
    """
    _CHECKS.get(command, lambda config: None)(config)


def check_data(data: Path) -> None:
    """Check that a folder or file of videos exists, and that a prepared one is complete.

    Raises:
        DataError: It is missing or incomplete.
    """
    if str(data) == BUILT_IN:
        return
    if not data.exists():
        raise DataError(f"{data}: no such folder or file; give videos, or {BUILT_IN} for the built-in ones")
    folder = data if data.is_dir() else data.parent
    if read_description(folder).get("complete") is False:
        raise DataError(f"{folder}: was not prepared to its end; repeat the t3d data prepare that was interrupted")


def _train(config: TrainConfig) -> None:
    _check_archs([config.model.arch])
    _check_list(config.data, "train", split=config.split, format=config.format)
    start = config.start
    if start.init is not None and start.inflate is None:
        card_text(weights_file(start.init))
    elif start.init is not None and not start.init.is_dir():
        _check_tensors(start.init)
    _check_place(config.output)
    check_run_folder(config.output, resume=config.resume, overwrite=config.overwrite)


def _transfer(config: TransferConfig) -> None:
    _check_archs([config.model.arch])
    if config.split is not None:
        _check_list(config.data, "train", split=config.split, format=config.format)
    else:
        check_data(config.data)
        if str(config.data) != BUILT_IN:
            load_unlabelled(config.data)
    _check_teacher(config.teacher.teacher, config.teacher.teacher_weights)
    probe = config.probe
    if probe.probe is not None:
        _check_list(probe.probe, "train", split=probe.probe_split, format=probe.probe_format)
    _check_place(config.output)
    check_run_folder(config.output, resume=config.resume, overwrite=config.overwrite)


def _pipeline(config: PipelineConfig) -> None:
    _check_archs([config.model.arch])
    _check_list(config.data, "train", split=config.split, format=None)
    if config.large is not None:
        _check_list(config.large, "train", split=1, format=None)
    if config.unlabelled is not None:
        check_data(config.unlabelled)
    if "transfer" in config.pipeline:
        _check_teacher(config.teacher.teacher, config.teacher.teacher_weights)
    _check_place(config.output)


def _evaluate(config: EvaluateConfig) -> None:
    trained = _check_scorer(config.weights)
    data = config.data or (Path(trained["dataset"]) if "dataset" in trained else None)
    if data is not None:
        split = config.split if config.split is not None else trained.get("split") or 1
        layout = config.format or (trained.get("format") if config.data is None else None)
        _check_list(data, config.subset, split=split, format=layout)
    if config.output is not None:
        _check_place(config.output)


def _predict(config: PredictConfig) -> None:
    _check_scorer(config.weights)
    for path in config.files:
        if path.is_dir() and not any(file.suffix.lower() in VIDEO_SUFFIXES for file in path.rglob("*")):
            known = ", ".join(sorted(VIDEO_SUFFIXES))
            raise DataError(f"{path}: no videos in this folder; known suffixes are {known}")
    if config.timeline is not None:
        _check_place(config.timeline)


def _fuse(config: FuseConfig) -> None:
    if (config.output / WEIGHTS_NAME).exists():
        raise ConfigError(f"--output {config.output}: is the folder of a trained run; name another folder")
    for path in config.runs:
        _check_metrics(path)
    _check_place(config.output)


def _compare(config: CompareConfig) -> None:
    for file in filter(None, (config.output, config.json, config.flips)):
        _check_place(file.parent)
    evaluated = [path for path in config.runs if not path.is_dir() or (path / "metrics.json").exists()]
    for path in evaluated or config.runs:
        _check_metrics(path)


def _convert(config: ConvertConfig) -> None:
    if config.arch is not None:
        _check_archs([config.arch])
    output = config.output or config.file.with_suffix(".safetensors")
    if output.exists():
        raise ConfigError(f"{output}: exists; name another --output")
    _check_tensors(config.file)
    if config.labels is not None and not config.labels.is_file():
        raise DataError(f"{config.labels}: no such file of labels")
    _check_place(output.parent)


def _export(config: ExportConfig) -> None:
    if config.weights.suffix.lower() in EXPORTED_SUFFIXES:
        weights_file(config.weights)  # raises: it is an exported file
    _check_scorer(config.weights)
    if config.calibration is not None:
        check_data(config.calibration)
    if config.output is not None:
        _check_place(config.output.parent)


def _data(config: DataConfig) -> None:
    _check_list(config.data, "train", split=config.split, format=config.format)


def _prepare(config: PrepareConfig) -> None:
    check_data(config.data)
    _check_place(config.output)


def _bench(config: BenchConfig) -> None:
    _check_archs(config.arch)
    if config.run is not None:
        weights_file(config.run)
    if config.output is not None:
        _check_place(config.output)


def _models(config: ModelsConfig) -> None:
    _check_archs(config.arch)
    if config.output is not None:
        _check_place(config.output.parent)


def _demo(config: DemoConfig) -> None:
    _check_place(config.output)


_CHECKS: dict[str, Callable[[Any], None]] = {
    "demo": _demo,
    "train": _train,
    "transfer": _transfer,
    "pipeline": _pipeline,
    "evaluate": _evaluate,
    "fuse": _fuse,
    "predict": _predict,
    "compare": _compare,
    "convert": _convert,
    "export": _export,
    "data": _data,
    "data prepare": _prepare,
    "bench": _bench,
    "models": _models,
}


def _check_archs(names: Iterable[str]) -> None:
    _check_names("arch", "t3d.models.registry", "ARCHITECTURES", ARCHITECTURES, names)


def _check_names(what: str, module: str, table: str, listed: Iterable[str], names: Iterable[str]) -> None:
    """Look names up in the table if its module is imported, since it may have new rows; else in the list of names."""
    known = getattr(sys.modules[module], table) if module in sys.modules else listed
    for name in names:
        if name not in known:
            raise ConfigError(unknown(what, name, known))


def _check_list(data: Path, subset: Subset, *, split: int, format: str | None) -> None:
    """Read the list of a subset like the command; the built-in videos need not exist yet."""
    check_data(data)
    if str(data) == BUILT_IN:
        return
    try:
        load_videos(data, subset=subset, split=split, format=format)
    except NoSuchSubsetError:
        if subset != "validation":  # which may be held out of training
            raise


def _check_teacher(name: str, weights: Path | None) -> None:
    place = name.rpartition(":")[0]
    if not place:
        _check_names("teacher", "t3d.transfer.teachers", "TEACHERS", TEACHERS, [name])
    elif place.endswith(".py") and not Path(place).is_file():
        raise ConfigError(f"teacher {name}: there is no file {place}; correct the path")
    elif not place.endswith(".py") and "/" not in place and find_spec(place.partition(".")[0]) is None:
        raise ConfigError(f"teacher {name}: there is no module {place}; correct the name, or give FILE.py:FUNCTION")
    if weights is not None:
        _check_tensors(weights)


def _check_scorer(path: Path) -> dict[str, Any]:
    """Training entries of a weights file; empty for an exported file, which only its library can read."""
    if path.suffix.lower() in EXPORTED_SUFFIXES and not path.is_dir():
        if not path.exists():
            raise CheckpointError(f"{path}: no such file; t3d export writes one, or give a run folder")
        return {}
    file = weights_file(path)
    try:
        card = json.loads(card_text(file))
        labels, trained = card["labels"], dict(card["training"])
    except (KeyError, TypeError, ValueError):  # the command reports it in detail
        return {}
    if not labels:
        raise CheckpointError(
            f"{path}: holds a network that names no classes yet; t3d train DATA --init {path} teaches it some"
        )
    return trained


def _check_tensors(file: Path) -> None:
    """Check that a file can contain tensors; published files are accepted."""
    if not file.is_file():
        what = "is a folder; name the weights file in it" if file.is_dir() else "no such weights file"
        raise CheckpointError(f"{file}: {what}")
    if file.suffix == ".safetensors":
        metadata_of(file, remedy="copy it anew")


def _check_metrics(path: Path) -> None:
    file = path / "metrics.json" if path.is_dir() else path
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no metrics; run t3d evaluate {path} first") from None
    except (ValueError, UnicodeDecodeError):
        raise CheckpointError(f"{file}: not the metrics of an evaluation; run t3d evaluate again") from None


def _check_place(folder: Path) -> None:
    """Check that a folder can be created and written to, without creating it."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; name a folder")
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not place.is_dir():
        raise ConfigError(f"{folder}: cannot be made, for {place} is a file; name another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: cannot be written to; name another folder")
