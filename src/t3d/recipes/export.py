"""Write a trained network for another engine: translate, fit int8, compare with PyTorch, and only then let it stand."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from t3d.config import ExportConfig
from t3d.engine.checkpoints import ModelCard, file_hash, load_model, weights_file
from t3d.engine.exports.description import Export
from t3d.engine.exports.engine import Engine, releases
from t3d.engine.exports.engines import ENGINES
from t3d.engine.exports.parity import TOLERANCES, Check, noise_clips
from t3d.engine.exports.program import clip_shape
from t3d.engine.exports.write import translate, write_export
from t3d.engine.runs import versions
from t3d.engine.scorer import torch_scorer
from t3d.errors import ConfigError
from t3d.recipes.calibration import training_clips
from t3d.recipes.console import say
from t3d.recipes.folders import make_folder
from t3d.tensors import Views

NUM_COMPARED = 32
"""Training clips that PyTorch and the engine are compared on; they are of other videos than int8 is fitted to."""
_NUM_FITTED = 128
_NUM_NOISE = 4

_ENGINES = {"openvino": "openvino", "onnx": "onnxruntime", "torch": "torch"}


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written where."""

    output: Path
    export: Export


@dataclass(frozen=True, kw_only=True, eq=False)
class _Clips:
    compared: Views
    whose: str
    calibration: Tensor | None = None
    """Others, as many as they may be."""
    calibrated: str = ""


def run(config: ExportConfig, *, command: str) -> Written:
    """Export.

    Raises:
        CheckpointError: The weights cannot be read, or the engine does not compute what they do.
        ConfigError: The engine is not installed, or the output has another's name or is there already.
        DataError: There are no training clips where some are needed.
    """
    engine = ENGINES[_ENGINES[config.target]]
    output = _output(config, engine)
    network, card = load_model(config.weights)
    facts = _facts(config, engine, command)  # what is not installed is said before anything is decoded
    clips = _clips(config, card)
    export = replace(facts, compared=clips.whose, calibrated=clips.calibrated)
    make_folder(output.parent)
    say(f"translating {card.arch} for {engine.name}")
    model = translate(network, card, engine=engine, calibration=clips.calibration)
    check = _check(config, network, card, clips.compared)
    return Written(
        output=output, export=write_export(output, model, card=card, engine=engine, export=export, check=check)
    )


def _output(config: ExportConfig, engine: Engine) -> Path:
    suffix, weights = engine.suffixes[0], weights_file(config.weights)
    output = config.output or weights.with_name(f"{weights.stem}-{config.target}-{config.precision}{suffix}")
    if output.suffix != suffix:
        raise ConfigError(f"--output {output}: must end in {suffix} with --to {config.target}")
    for file in (output.with_suffix(end) for end in engine.suffixes):
        if file.exists() and not config.overwrite:
            raise ConfigError(f"{file}: exists; give --overwrite, or name another --output")
    return output


def _clips(config: ExportConfig, card: ModelCard) -> _Clips:
    if config.precision != "int8" and config.calibration is None:
        return _Clips(compared=noise_clips(clip_shape(card), _NUM_NOISE), whose=f"{_NUM_NOISE} clips of noise")
    wanted = (config.calibration_clips or _NUM_FITTED) if config.precision == "int8" else 0
    clips = training_clips(config, card, compared=NUM_COMPARED, fitted=wanted)
    count = len(clips.compared)
    if clips.fitted is None:
        return _Clips(compared=clips.compared, whose=f"{count} clips of {clips.whose}")
    which = "other videos" if clips.apart else "the same video, for there is one only,"
    return _Clips(
        compared=clips.compared,
        whose=f"{count} clips of {which} of {clips.whose}",
        calibration=clips.fitted,
        calibrated=f"{len(clips.fitted)} clips of {clips.whose}",
    )


def _check(config: ExportConfig, network: nn.Module, card: ModelCard, clips: Views) -> Check:
    usual = TOLERANCES[config.precision]
    allowed = usual if config.tolerance is None else replace(usual, difference=config.tolerance)
    return Check(reference=torch_scorer(network, card.pixels), clips=clips, tolerance=allowed)


def _facts(config: ExportConfig, engine: Engine, command: str) -> Export:
    weights = weights_file(config.weights).resolve()
    packages = (*engine.packages, *(["nncf"] if config.precision == "int8" else []))
    return Export(
        engine=engine.name,
        precision=config.precision,
        weights=str(weights),
        weights_sha256=file_hash(weights),
        versions=versions() | releases(packages, engine.extra),
        command=command,
    )


def show(written: Written, config: ExportConfig) -> int:
    """Say how near the file is to the network."""
    export = written.export
    print(f"{written.output}: for {export.engine}, {export.precision}")
    print(
        f"logits differ from PyTorch's in float32 by {export.difference:.1e} of the largest; the likeliest class is "
        f"the same for {export.agreement:.0%} of {export.compared}"
    )
    return 0
