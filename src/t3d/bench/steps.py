"""Build the timed steps: networks for every setting of training and every engine of scoring."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from t3d.bench.machine import Precision, bf16_missing
from t3d.bench.rounds import Step
from t3d.errors import ConfigError
from t3d.inference.backends import BACKENDS
from t3d.inference.backends.base import Scorer
from t3d.inference.export import noise_clips
from t3d.inference.scorer import torch_scorer
from t3d.models import accelerate, create_model, prepare_for_inference, supports_recompute
from t3d.models.checkpoints import ModelCard, load_model
from t3d.models.fast.convolutions import Conv3dOverride, conv3d_padded_in_time
from t3d.models.layers import times
from t3d.system import keep_freed_memory, return_freed_memory
from t3d.tensors import Logits, Views
from t3d.video.spec import ClipSpec, PixelSpec

Shape = tuple[int, int, int, int, int]
"""B x C x T x H x W."""

Source = str | Path
"""Name of a network, which gets random weights, or a run folder."""

CALIBRATION_CLIPS = 8
_NUM_CLASSES = 400


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings of a training step."""

    name: str
    accelerated: bool = True
    """Use `t3d.accelerate`, or compute layer by layer."""
    precision: Precision = "float32"
    recompute: bool = False
    """Recompute maps of dense blocks for the gradient."""
    channels_last: bool = False
    freed_memory: Literal["as usual", "kept", "returned"] = "kept"
    """Setting of malloc: `t3d train` keeps freed memory, with `--recompute` it returns it to the system."""
    compile: bool = False


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """Engine and precision of scoring."""

    name: str = "PyTorch"
    engine: str = "torch"
    precision: str = "float32"
    """float32, bf16 or int8."""


def training_network(arch: str, settings: TrainSettings, *, generator: torch.Generator | None = None) -> nn.Module:
    """Build a network with random weights and apply the settings that change it."""
    network = create_model(arch, generator=generator).train()
    if settings.accelerated:
        accelerate(network, recompute=settings.recompute)
    if settings.channels_last:
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # not in its stubs
    return network


def training_step(
    *,
    arch: str,
    shape: Shape,
    settings: TrainSettings = TrainSettings(name="accelerated"),
    device: str,
    build: Callable[[str, TrainSettings], nn.Module] = training_network,
) -> Step:
    """Build a network and return a step: zero the gradients, forward, cross entropy, backward, SGD.

    Args:
        arch: Name of the network.
        shape: Clips of a step, of random values.
        settings: Of the step.
        device: Device; "meta" counts operations without computing.
        build: Builds the network, in training mode.
    """
    if settings.freed_memory == "kept":
        keep_freed_memory()
    elif settings.freed_memory == "returned":
        return_freed_memory()
    with torch.device(device):
        network = build(arch, settings)
    clips = torch.rand(shape, device=device)
    if settings.channels_last:
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
    labels = torch.zeros(len(clips), dtype=torch.int64, device=device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)
    score = torch.compile(network) if settings.compile else network
    kind, mixed = torch.device(device).type, settings.precision == "bf16"

    def step() -> None:
        optimizer.zero_grad()
        with (
            Conv3dOverride(conv3d_padded_in_time) if mixed and kind == "cpu" else nullcontext()
        ):  # as `t3d train` does it
            with torch.autocast(kind, torch.bfloat16) if mixed else nullcontext():
                loss = F.cross_entropy(score(clips), labels)
            loss.backward()
        optimizer.step()
        synchronise(device)

    return step


def scoring_step(
    *,
    source: Source,
    shape: Shape,
    settings: ScoreSettings = ScoreSettings(),
    device: str,
) -> Step:
    """Build a scorer and return a step: from clips of noise, bytes on the CPU, to logits."""
    network, card = _load(source, shape)
    if settings.engine == "torch":
        keep_freed_memory()  # as `t3d evaluate` does
        scorer = synchronised(prepared_scorer(network, card.pixels, device), settings.precision, device)
    else:
        scorer = _exported_scorer(network, card, shape, settings)
    clips = noise_clips(shape[1:], shape[0])
    return lambda: scorer(clips)


def prepared_scorer(network: nn.Module, pixels: PixelSpec, device: str) -> Scorer:
    """PyTorch's scorer as `t3d evaluate` makes it: by `t3d.prepare_for_inference`."""
    return torch_scorer(prepare_for_inference(network).to(device), pixels)


def synchronised(score: Scorer, precision: str, device: str) -> Scorer:
    """Score under autocast for bf16, and wait for the device."""
    kind = torch.device(device).type

    def scored(clips: Views) -> Logits:
        with torch.autocast(kind, torch.bfloat16) if precision == "bf16" else nullcontext():
            logits = score(clips)
        synchronise(device)
        return logits

    return scored


def forward_step(*, arch: str, shape: Shape, device: str = "cpu", **overrides: Any) -> Step:  # noqa: ANN401
    """Build a network, some of its fields replaced, and return a step: a forward pass of random clips."""
    with torch.device(device):
        network, clips = accelerate(create_model(arch, **overrides)).eval(), torch.rand(shape)

    @torch.inference_mode()
    def step() -> None:
        network(clips)
        synchronise(device)

    return step


def prepared_step(*, source: Source, shape: Shape, device: str) -> Step:
    """Return a forward pass as every engine computes it, of floats: for counting operations."""
    with torch.device(device):
        card = run_card(source) if isinstance(source, Path) else _card(source, shape)
        network, clips = prepare_for_inference(card.build()), torch.empty(shape)

    @torch.no_grad()
    def step() -> None:
        network(clips)

    return step


def synchronise(device: str) -> None:
    """Return when all work queued on a GPU is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def count_flops(build: Callable[..., Step], /, **arguments: Any) -> int:  # noqa: ANN401  (the step's)
    """Count the operations of a step without computing it, two per multiply-add."""
    step = build(**arguments, device="meta")
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def arch_supports_recompute(arch: str) -> bool:
    """Whether recomputation would save memory in training this network."""
    with torch.device("meta"):
        return supports_recompute(create_model(arch))


def unavailable(settings: ScoreSettings, device: str) -> str:
    """Reason why an engine or precision cannot be measured here; empty if it can."""
    if settings.precision == "bf16" and (reason := bf16_missing(device)):
        return reason
    if settings.engine == "torch":
        return ""
    try:
        BACKENDS[settings.engine].releases(settings.precision)
    except ConfigError as error:
        return f"skipped: {error}"
    return ""


def check_clips(arch: str, shape: Shape, *, training: bool) -> None:
    """Check on the meta device that a network accepts such clips.

    Raises:
        ConfigError: They are too small, or too few to normalise over.
    """
    with torch.device("meta"), torch.no_grad():
        network, clips = create_model(arch).train(training), torch.empty(shape)
        try:
            network(clips)
        except ValueError as error:  # of batch norm
            raise ConfigError(
                f"clips of {times(shape)} leave {arch} one value a channel to normalise in training; use a larger "
                "--batch-size or --crop-size"
            ) from error


def run_card(run: Path) -> ModelCard:
    """Model card of a run.

    Raises:
        CheckpointError: The run cannot be read, or names no classes.
    """
    with torch.device("cpu"):
        return load_model(run)[1]


def _load(source: Source, shape: Shape) -> tuple[nn.Module, ModelCard]:
    if isinstance(source, Path):
        return load_model(source)
    card = _card(source, shape)
    return card.build().eval(), card


def _card(arch: str, shape: Shape) -> ModelCard:
    return ModelCard(
        arch=arch,
        overrides={},
        labels=tuple(map(str, range(_NUM_CLASSES))),
        clip=ClipSpec(num_frames=shape[2]),
        pixels=PixelSpec(resize=shape[-1], crop_size=shape[-1]),
    )


def _exported_scorer(network: nn.Module, card: ModelCard, shape: Shape, settings: ScoreSettings) -> Scorer:
    engine = BACKENDS[settings.engine]
    calibration = noise_clips(shape[1:], CALIBRATION_CLIPS) if settings.precision == "int8" else None
    return engine.start(engine.translate(network, card, calibration), settings.precision)
