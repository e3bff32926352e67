"""Export a trained network to another backend: translate, calibrate int8, compare with PyTorch, then keep the file."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor, nn

from t3d.commands._console import counted, log
from t3d.commands._datasets import find_videos, video_source
from t3d.config import ExportConfig
from t3d.data.reencoded import Originals
from t3d.data.samples import VideoList
from t3d.errors import CheckpointError, ConfigError, DataError
from t3d.files import make_folder
from t3d.inference.backends import backend_for_target, backend_of
from t3d.inference.backends.base import Backend, Export
from t3d.inference.calibration import draw_training_clips
from t3d.inference.export import TOLERANCES, Check, noise_clips, write_export
from t3d.inference.graph import clip_shape
from t3d.inference.scorer import torch_scorer
from t3d.models.checkpoints import ModelCard, file_hash, load_model, weights_file
from t3d.run_files import versions
from t3d.tensors import Views

NUM_COMPARED = 32
"""Training clips that PyTorch and the backend are compared on; they are of other videos than int8 is fitted to."""
_NUM_FITTED = 128
_NUM_NOISE = 4


@dataclass(frozen=True, kw_only=True)
class Written:
    """The file, and its description."""

    output: Path
    export: Export


@dataclass(frozen=True, kw_only=True, eq=False)
class _Clips:
    """Clips, with their descriptions for the export."""

    compared: Views
    compared_text: str
    calibration: UInt8[Tensor, "M C T H W"] | None = None
    calibration_text: str = ""


def run(config: ExportConfig, *, command: str) -> Written:
    """Export.

    Raises:
        CheckpointError: The weights cannot be read, or the backend's output differs too much.
        ConfigError: The backend is not installed, or the output has a wrong suffix or exists.
        DataError: Training clips are needed and not available.
    """
    backend = backend_for_target(config.target)
    output = _output(config, backend)
    network, card = load_model(config.weights)
    facts = _facts(config, backend, command)  # reports missing packages before decoding
    clips = _clips(config, card)
    make_folder(output.parent)
    log(f"translating {card.arch} for {backend.name}")
    export = write_export(
        output,
        backend.translate(network, card, clips.calibration),
        card=card,
        backend=backend,
        export=replace(facts, compared=clips.compared_text, calibrated=clips.calibration_text),
        check=_check(config, network, card, clips.compared),
    )
    return Written(output=output, export=export)


def show(written: Written, config: ExportConfig) -> int:
    """Print the agreement of the file with the network."""
    export = written.export
    print(f"{written.output}: for {export.engine}, {export.precision}")
    print(
        f"logits differ from PyTorch's in float32 by {export.difference:.1e} of the largest; the likeliest class is "
        f"the same for {export.agreement:.0%} of {export.compared}"
    )
    return 0


def _output(config: ExportConfig, backend: Backend) -> Path:
    if backend_of(config.weights) is not None and config.weights.is_file():
        raise CheckpointError(f"{config.weights}: is of t3d export; give the run folder or weights file it was made of")
    suffix, weights = backend.suffixes[0], weights_file(config.weights)
    output = config.output or weights.with_name(f"{weights.stem}-{config.target}-{config.precision}{suffix}")
    if output.suffix != suffix:
        raise ConfigError(f"--output {output}: must end in {suffix} with --to {config.target}")
    for file in (output.with_suffix(end) for end in backend.suffixes):
        if file.exists() and not config.overwrite:
            raise ConfigError(f"{file}: exists; give --overwrite, or name another --output")
    return output


def _facts(config: ExportConfig, backend: Backend, command: str) -> Export:
    weights = weights_file(config.weights).resolve()
    return Export(
        engine=backend.name,
        precision=config.precision,
        weights=str(weights),
        weights_sha256=file_hash(weights),
        versions=versions() | backend.releases(config.precision),
        command=command,
    )


def _check(config: ExportConfig, network: nn.Module, card: ModelCard, clips: Views) -> Check:
    usual = TOLERANCES[config.precision]
    allowed = usual if config.tolerance is None else replace(usual, difference=config.tolerance)
    return Check(reference=torch_scorer(network, card.pixels), clips=clips, tolerance=allowed)


def _clips(config: ExportConfig, card: ModelCard) -> _Clips:
    """Noise for the comparison; or training clips, for int8 or if the flags name a dataset."""
    if config.precision != "int8" and config.calibration is None:
        return _Clips(compared=noise_clips(clip_shape(card), _NUM_NOISE), compared_text=f"{_NUM_NOISE} clips of noise")
    videos = _find(config, card)
    clips = draw_training_clips(
        videos,
        card,
        compared=NUM_COMPARED,
        fitted=(config.calibration_clips or _NUM_FITTED) if config.precision == "int8" else 0,
        source=video_source(card.pixels, backend=config.backend),
        progress=lambda keys: counted(keys, "reading training clips", total=len(keys)),
    )
    count, named = len(clips.compared), f"{videos.root} ({videos.split})"
    if clips.fitted is None:
        return _Clips(compared=clips.compared, compared_text=f"{count} clips of {named}")
    which = "other videos" if clips.apart else "the same video, for there is one only,"
    return _Clips(
        compared=clips.compared,
        compared_text=f"{count} clips of {which} of {named}",
        calibration=clips.fitted,
        calibration_text=f"{len(clips.fitted)} clips of {named}",
    )


def _find(config: ExportConfig, card: ModelCard) -> VideoList:
    """The training list.

    Raises:
        ConfigError: Neither the weights nor the flags name a dataset.
        DataError: It does not exist, or contains test videos of the run.
    """
    trained = card.training
    own = partial(
        find_videos, Path(trained.get("dataset", "")), split=trained.get("split", 1), format=trained.get("format")
    )
    if config.calibration is None:
        if "dataset" not in trained:
            raise ConfigError(f"{config.weights}: does not say which data it was trained on; give --calibration DATA")
        return own(subset="train")
    videos = find_videos(config.calibration, subset="train", split=trained.get("split", 1), format=None)
    if "dataset" in trained:
        _check_not_tested(videos, own)
    return videos


def _check_not_tested(videos: VideoList, own: Callable[..., VideoList]) -> None:
    """Refuse videos of the run's test list, prepared or not, if the list can be found."""
    try:
        test = own(subset="test")
    except DataError:  # the dataset is gone, or has no test list
        return
    originals = Originals()
    tested = {originals.of(sample.path.resolve()) for sample in test.samples}
    shared = [sample.name for sample in videos.samples if originals.of(sample.path.resolve()) in tested]
    if shared:
        raise DataError(
            f"{videos.root}: {len(shared)} of its training videos are test videos of the run, first {shared[0]}; "
            "int8 fitted to them would be tested on what it was fitted to; give others"
        )
