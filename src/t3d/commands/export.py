"""Write a trained network for another engine: translate, fit int8, compare with PyTorch, and only then let it stand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from t3d.commands._console import counted, say
from t3d.commands._datasets import find_videos, video_source
from t3d.commands._output import make_folder
from t3d.config import ExportConfig
from t3d.data.clips import ClipKey, TrainClips, seeded
from t3d.data.reencoded import Originals
from t3d.data.samples import VideoList
from t3d.errors import ConfigError, DataError
from t3d.inference.backends.base import Engine, Export, releases
from t3d.inference.backends.table import ENGINES
from t3d.inference.export import TOLERANCES, Check, noise_clips, translate, write_export
from t3d.inference.graph import clip_shape
from t3d.inference.scorer import torch_scorer
from t3d.models.checkpoints import ModelCard, file_hash, load_model, weights_file
from t3d.run_files import versions
from t3d.tensors import Views
from t3d.video.spec import AugmentSpec

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


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingClips:
    """Clips of the training list, as bytes (N, C, T, H, W)."""

    whose: str
    compared: Tensor
    fitted: Tensor | None
    """Of other videos, where there are two or more."""
    apart: bool
    """Whether they are of other videos."""


def training_clips(config: ExportConfig, card: ModelCard, *, compared: int, fitted: int) -> TrainingClips:
    """Centre crops of clips that start anywhere, of as many videos as there are.

    Those to compare on are of videos set aside for it, for the clips of a short video are all alike. A video that
    cannot be decoded gives none.

    Args:
        config: The flags.
        card: How clips are cut and seen.
        compared: Clips to compare on.
        fitted: Clips to fit int8 to, or 0.

    Raises:
        ConfigError: Neither the weights nor the flags name a dataset.
        DataError: It is not there, holds test videos of the run, or none of its videos can be decoded.
    """
    videos = _find(config, card)
    clips = TrainClips(
        videos.samples,
        clip=card.clip,
        pixels=card.pixels,
        augment=AugmentSpec(crop="centre", flip_probability=0.0),
        open_video=video_source(card.pixels, backend=config.backend),
        seed=0,
    )
    order = torch.randperm(len(clips), generator=seeded(0, 0, 0)).tolist()
    aside = _num_aside(len(order), compared=compared, fitted=fitted)
    return TrainingClips(
        whose=f"{videos.root} ({videos.split})",
        compared=_draw(clips, order[:aside], range(compared)),
        fitted=_draw(clips, order[aside:] or order, range(compared, compared + fitted)) if fitted else None,
        apart=aside < len(order),
    )


def _num_aside(num_videos: int, *, compared: int, fitted: int) -> int:
    """Videos to compare on: their share is that of the clips, with one video at least for either, if there are two."""
    wanted = num_videos * compared // (compared + fitted)
    return max(1, min(wanted, num_videos - bool(fitted), compared))


def _draw(clips: TrainClips, videos: Sequence[int], numbers: Sequence[int]) -> Tensor:
    """Clips of videos in turn; a number stands for a start in its video, so that others are other clips if they can."""
    keys = [ClipKey(epoch=number // len(videos), video=videos[number % len(videos)]) for number in numbers]
    drawn = [clips[key] for key in counted(keys, "reading training clips", total=len(keys))]
    good = [item[0] for item in drawn if not isinstance(item, str)]
    if not good:
        raise DataError(f"none of {len(keys)} training clips can be decoded; repair the videos, first: {drawn[0]}")
    return torch.stack(good)


def _find(config: ExportConfig, card: ModelCard) -> VideoList:
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
    """Refuse videos of the test list of the run, prepared or not, where that can be found."""
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
            "int8 fitted to them would be judged on what it has seen; give others"
        )
