"""Start the processes and devices of a command, and end them together; numerics checks; compilation."""

import gc
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from lightning_fabric import Fabric
from torch import distributed, nn

from t3d.commands._console import warn
from t3d.commands._datasets import cache_folder
from t3d.config import Accelerator, Precision, ScoringOptions
from t3d.errors import ConfigError, T3DError
from t3d.inference.numerics_check import FINER, check_convolutions, convolutions_of
from t3d.inference.open import InferenceModel
from t3d.models import prepare_for_inference
from t3d.models.checkpoints import ModelCard
from t3d.models.fast.convolutions import Conv3dOverride, conv3d_padded_in_time
from t3d.system import cpu_bf16_supported, is_first_process, keep_freed_memory, was_interrupted


def build_fabric(*, accelerator: Accelerator, precision: Precision, devices: int = 1, nodes: int = 1) -> Fabric:
    """Create the Fabric for given flags; no process starts yet.

    Raises:
        ConfigError: There is no GPU, or the number of devices or the precision is not supported.
    """
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--accelerator cuda: no CUDA device is available; use --accelerator cpu")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces every process on the terminal
    if precision == "16-mixed" and (accelerator == "cpu" or not torch.cuda.is_available()):
        raise ConfigError("--precision 16-mixed needs a GPU; use bf16-mixed or 32-true on a CPU")
    try:
        return Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=precision)
    except Exception as error:  # of half a dozen unrelated types
        raise ConfigError(
            f"--accelerator {accelerator} --devices {devices} --precision {precision}: {_one_line(error)}"
        ) from error


def scoring_fabric(model: InferenceModel, options: ScoringOptions, *, devices: int = 1) -> Fabric:
    """Like `build_fabric`, for a model whose backend may support the CPU only.

    Raises:
        ConfigError: The backend supports one CPU only; or the device computes wrongly.
    """
    if not model.cpu_only:
        fabric = build_fabric(accelerator=options.accelerator, precision=options.precision, devices=devices)
        check_scoring_numerics(model.card, options.views.batch_size, device=fabric.device, precision=options.precision)
        keep_freed_memory()
        return fabric
    if model.is_outdated:
        warn(f"{model.file}: was exported from other weights than are there now; t3d export RUN --overwrite renews it")
    if options.accelerator == "cuda":
        raise ConfigError(f"{model.file}: is computed on the CPU; leave out --accelerator cuda, or give the run")
    if devices > 1:
        raise ConfigError(f"{model.file}: is computed on one device; leave out --devices {devices}, or give the run")
    return build_fabric(accelerator="cpu", precision="32-true")


@contextmanager
def launched(fabric: Fabric) -> Iterator[None]:
    """Start one process per device, with torchrun, SLURM or as child processes, and end them together.

    Raises:
        ConfigError: The launcher started another number of processes than the flags require.
        T3DError: Another process ended early.
    """
    try:
        fabric.launch()
    except ValueError as error:
        raise ConfigError(f"--devices and --nodes are not what the launcher started: {_one_line(error)}") from error
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or "Connection" not in str(error):
            raise
        if was_interrupted():  # as the other process was
            raise KeyboardInterrupt from None
        if not is_first_process():
            raise SystemExit(1) from None
        raise T3DError("another process of this command ended early; its own message says why") from error
    if fabric.world_size > 1:
        fabric.barrier()
        gc.collect()  # tensors that outlive the process group can abort gloo at exit
        distributed.destroy_process_group()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def prepare_compilation() -> None:
    """Set the folder of the compile cache, unless `TORCHINDUCTOR_CACHE_DIR` is set.

    Raises:
        ConfigError: There is no C++ compiler.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:  # PyTorch takes CXX for one name, too: `ccache g++` would not do
        raise ConfigError(
            f"--compile: needs a C++ compiler, and there is no {compiler}; install one, name it in the environment "
            "variable CXX, or leave out --compile"
        )
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))


_PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_MOST_CLIPS = 2
"""Of a batch that is compared: in float64, whole ones would take a GPU longer, and more memory, than training does."""
_SLOW = 2.0
"""Times as long as in the finer format, from which on a warning is due."""


def wants_check(device: torch.device, precision: Precision) -> bool:
    """Whether to check the numerics: on CUDA always, on a CPU for all but float32.

    Other devices may lack the finer format for the comparison.
    """
    return device.type == "cuda" or (device.type == "cpu" and precision != "32-true")


def check_numerics(
    network: nn.Module,
    clips: tuple[int, int, int, int, int],
    *,
    device: torch.device,
    precision: Precision,
    learns: bool,
    channels_last: bool = False,
) -> None:
    """Compare the network's convolutions with a finer precision; warn if they are slow.

    Args:
        network: On the meta device; its dtype is changed to that of the convolutions.
        clips: Shape (B, C, T, H, W) of a batch; two of its clips are used.
        device: Device.
        precision: Of the arithmetic.
        learns: Whether to check gradients.
        channels_last: Whether this is the memory format.

    Raises:
        ConfigError: An output or gradient is wrong.
    """
    kind = _PRECISIONS[precision]
    with computing(device, precision=precision) if learns else nullcontext():
        convolutions = convolutions_of(network.to(kind), (min(clips[0], _MOST_CLIPS), *clips[1:]), learns=learns)
    slowdown = check_convolutions(
        convolutions,
        device=device,
        precision=kind,
        gradients=learns,
        memory_format=torch.channels_last_3d if channels_last else torch.contiguous_format,
    )
    if slowdown > _SLOW:
        finer = str(FINER[kind]).removeprefix("torch.")
        emulated = device.type == "cpu" and kind == torch.bfloat16 and not cpu_bf16_supported()
        reason = "; this processor has no bf16 units" if emulated else ""
        warn(f"--precision {precision} takes {slowdown:.0f} times as long as {finer} here{reason}")


def check_scoring_numerics(card: ModelCard, num_clips: int, *, device: torch.device, precision: Precision) -> None:
    """The same for scoring with the network of a card, if `wants_check`.

    Raises:
        ConfigError: An output is wrong.
    """
    if not wants_check(device, precision):
        return
    with torch.device("meta"):
        network = prepare_for_inference(card.build())
    size = card.pixels.crop_size
    clips = (num_clips, card.pixels.channels, card.clip.num_frames, size, size)
    check_numerics(network, clips, device=device, precision=precision, learns=False)


def computing(device: torch.device, *, precision: Precision) -> AbstractContextManager[object]:
    """Context to enter around the network, for correct gradients."""
    padded = device.type == "cpu" and precision == "bf16-mixed"
    return Conv3dOverride(conv3d_padded_in_time) if padded else nullcontext()
