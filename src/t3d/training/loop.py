"""The training loop, resumable after any update.

The loader provides batches, the objective the loss, optimizer and schedule the updates, and callbacks everything
between updates and epochs. Randomness within a step is a function of (seed, step), so a resumed run equals an
uninterrupted one.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from t3d.data.clips import EpochSampler
from t3d.errors import DataError, T3DError
from t3d.run_files import MEASURES as MEASURES
from t3d.training.learner import Learner, Progress
from t3d.training.optim import keep_frozen_in_eval
from t3d.workers import iterate


@runtime_checkable
class Batch(Protocol):
    """A batch of a loader."""

    @property
    def failures(self) -> list[str]:
        """Videos that could not be decoded."""
        ...

    @property
    def num_clips(self) -> int:
        """Number of clips."""
        ...


class LossOutput(NamedTuple):
    """Loss and number of correct answers of a batch."""

    loss: Tensor
    """Sum over the clips, a differentiable scalar."""
    num_correct: float
    """Number of clips with the correct answer."""


@runtime_checkable
class Objective(Protocol):
    """Loss of an update, and options of the update."""

    @property
    def accumulate(self) -> int:
        """Batches accumulated for one update."""
        ...

    @property
    def clip_norm(self) -> float | None:
        """Maximum norm of the gradient."""
        ...

    @property
    def skip_bad_videos(self) -> bool:
        """Whether to continue without videos that cannot be decoded."""
        ...

    def compute_loss(self, model: nn.Module, batch: Any, device: torch.device) -> LossOutput:  # noqa: ANN401
        """Compute the loss of a batch."""
        ...


@runtime_checkable
class Callbacks(Protocol):
    """Called by the loop after updates and epochs."""

    def on_step(self, learner: Learner) -> None:
        """Called after every update."""

    def on_epoch(self, learner: Learner) -> None:
        """Called after the last update of an epoch, before its sums in `progress` are reset."""

    def save(self, learner: Learner) -> None:
        """Called between epochs; a resumed run continues with the next epoch."""


def fit(
    learner: Learner,
    loader: "DataLoader[Any]",
    sampler: EpochSampler,
    *,
    objective: Objective,
    num_steps: int,
    seed: int,
    callbacks: Callbacks,
) -> None:
    """Train until `num_steps` updates are done or a callback ends it.

    Raises:
        DataError: A video cannot be decoded (or, if those are skipped, a whole batch of them), or the loss is not
            finite.
        T3DError: The device is out of memory, or the network cannot be compiled.
    """
    progress = learner.progress
    while not progress.stopped and (progress.step < num_steps or progress.batch):  # finish the current epoch first
        if progress.step < num_steps:
            sampler.start(progress.epoch, skip_batches=progress.batch)
            _rest_of_epoch(learner, loader, objective=objective, num_steps=num_steps, seed=seed, callbacks=callbacks)
        callbacks.on_epoch(learner)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        progress.loss_sum, progress.num_correct, progress.num_clips = 0.0, 0.0, 0
        callbacks.save(learner)


def _rest_of_epoch(
    learner: Learner,
    loader: "DataLoader[Any]",
    *,
    objective: Objective,
    num_steps: int,
    seed: int,
    callbacks: Callbacks,
) -> None:
    progress = learner.progress
    learner.model.train()
    keep_frozen_in_eval(learner.network)
    for batches in _groups(iterate(loader), objective.accumulate):
        torch.manual_seed((seed * 1_000_003 + progress.step) * 1_009 + learner.fabric.global_rank)  # dropout
        _update(learner, batches, objective)
        callbacks.on_step(learner)
        if progress.step >= num_steps:
            break


def _groups(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _update(learner: Learner, batches: list[Batch], objective: Objective) -> None:
    usable = [batch for batch in batches if batch.num_clips]
    num_clips = sum(batch.num_clips for batch in usable)
    failures = [failure for batch in batches for failure in batch.failures]
    if failures and not objective.skip_bad_videos:
        raise DataError(f"{failures[0]}; or go on without such videos by --bad-videos skip")
    if num_clips == 0:
        raise DataError(f"no video of a whole batch can be decoded, first: {failures[0]}")
    try:
        for number, batch in enumerate(usable, start=1):
            with learner.fabric.no_backward_sync(learner.model, enabled=number < len(usable)):
                _backward(learner, batch, objective, num_clips=num_clips)
        if objective.clip_norm is not None:
            learner.fabric.clip_gradients(
                learner.model, learner.optimizer, max_norm=objective.clip_norm, error_if_nonfinite=False
            )  # fp16's scaler skips an update whose gradient overflows
        learner.optimizer.step()
    except RuntimeError as error:
        remedy = _remedy(
            error,
            batch_size=len(batches[0].failures) + batches[0].num_clips,
            accumulate=objective.accumulate,
            savings=learner.savings,
        )
        if remedy is None:
            raise
        raise T3DError(remedy) from error
    learner.optimizer.zero_grad()
    learner.schedule.step()
    if learner.average is not None:
        learner.average.update_parameters(learner.network)
    _count(learner.progress, batches)


def _backward(learner: Learner, batch: Batch, objective: Objective, *, num_clips: int) -> None:
    """Accumulate the gradient of a batch's part of the mean loss over all `num_clips` of the update."""
    with _uncompiled(learner.compiled_for not in (None, batch.num_clips)):
        output = objective.compute_loss(learner.model, batch, learner.fabric.device)
    value = output.loss.item()
    if value != value or value in (float("inf"), float("-inf")):
        raise DataError(f"loss is {value} after {learner.progress.step} updates; lower --lr or set --clip-norm 1")
    learner.fabric.backward(output.loss / num_clips)
    learner.progress.loss_sum += value
    learner.progress.num_correct += output.num_correct


def _uncompiled(wanted: bool) -> AbstractContextManager[object]:
    return torch.compiler.set_stance("force_eager") if wanted else nullcontext()


def _count(progress: Progress, batches: list[Batch]) -> None:
    progress.step += 1
    progress.batch += len(batches)
    progress.num_clips += sum(batch.num_clips for batch in batches)
    for batch in batches:
        progress.skipped.extend(failure for failure in batch.failures if failure not in progress.skipped)


def _remedy(error: RuntimeError, *, batch_size: int, accumulate: int, savings: Iterable[str]) -> str | None:
    """Error for a failed update, if the user can do something about it."""
    if _is_memory(error):
        return (
            f"out of memory with --batch-size {batch_size}; halve it and double --accumulate (now {accumulate}) for "
            f"the same update{''.join(f', or add {flag}' for flag in savings)}"
        )
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"torch.compile failed ({str(error).strip().partition(chr(10))[0][:200]}); leave out --compile"
    return None


def _is_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed: PyTorch has an exception type for GPUs, and only a message for CPUs."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
