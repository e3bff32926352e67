"""The training loop: batches in, better weights out, resumable after any update.

What is learnt on is decided by the loader, what is learnt by the objective, how fast by the optimizer and schedule, and
what to do between epochs by the caller's hooks. What is random in a step is a function of (seed, step), so a resumed
run repeats an uninterrupted one.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from t3d.data.clips import EpochSampler
from t3d.errors import DataError, T3DError
from t3d.training.optim import keep_frozen_in_eval
from t3d.workers import iterate

MEASURES = {"top1": "top-1", "matching": "matching"}
"""Names of the share of right answers, in logs and for people."""


@runtime_checkable
class Batch(Protocol):
    """What a loader gives."""

    @property
    def failures(self) -> list[str]:
        """Videos that could not be decoded."""
        ...

    @property
    def num_clips(self) -> int:
        """Clips in it."""
        ...


class Outcome(NamedTuple):
    """What an objective says about a batch."""

    loss: Tensor
    """Sum over the clips, a scalar that can be differentiated."""
    num_correct: float
    """Clips judged rightly."""


@runtime_checkable
class Objective(Protocol):
    """What an update minimises, and how large it is."""

    @property
    def accumulate(self) -> int:
        """Batches summed up before one update."""
        ...

    @property
    def clip_norm(self) -> float | None:
        """Largest norm of a gradient."""
        ...

    @property
    def skip_bad_videos(self) -> bool:
        """Whether to go on without videos that cannot be decoded."""
        ...

    def judge(self, model: nn.Module, batch: Any, device: torch.device) -> Outcome:  # noqa: ANN401  (its own kind)
        """Pass a batch through the network and compare with what was wanted."""
        ...


@dataclass
class Progress:
    """How far a run has come; plain values, saved with the trainer state."""

    epoch: int = 0
    batch: int = 0
    """Batches done in this epoch."""
    step: int = 0
    """Updates done in all."""
    loss_sum: float = 0.0
    num_correct: float = 0.0
    num_clips: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One row an epoch: what the log shows."""
    best: tuple[float, float] = (-1.0, 0.0)
    """Highest top-1 so far on what selects the weights, and minus the loss that came with it."""
    lowest_loss: float = float("inf")
    stale_epochs: int = 0
    """Epochs since the selection loss was lowest."""
    plateau_epochs: int = 0
    """The same since the plateau schedule last divided."""
    stopped: bool = False
    """Ended early."""
    seconds: float = 0.0
    """Time spent, over all resumptions."""
    skipped: list[str] = field(default_factory=list)
    """Training videos that could not be decoded."""


@runtime_checkable
class Hooks(Protocol):
    """What happens around updates; the recipe's part."""

    def on_step(self, learner: "Learner") -> None:
        """Called after every update."""

    def on_epoch(self, learner: "Learner") -> None:
        """Called after the last update of an epoch, whose figures are still in `progress`."""

    def save(self, learner: "Learner") -> None:
        """Called between epochs: what is saved here goes on with the next one."""


class Learner:
    """A network with all that changes while it learns: weights, their average, optimizer, schedule, progress.

    Args:
        fabric: The devices.
        model: The network; the same object stays what is evaluated and saved.
        optimizer: Of its parameters.
        schedule: Of the optimizer.
        ema_decay: Keep an exponential moving average of the weights, with this decay.
        compiled_for: Compile the training step for batches of so many clips (or videos); others are computed plainly,
            for each size would take minutes to compile.
        savings: Flags that would take less memory, for the message where there is too little.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LambdaLR,
        *,
        ema_decay: float | None,
        compiled_for: int | None = None,
        savings: Sequence[str] = (),
    ) -> None:
        self.fabric = fabric
        self.network = model
        self.schedule = schedule
        self.progress = Progress()
        self.average = (
            None
            if ema_decay is None
            else AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True)
        )
        self.compiled_for = compiled_for
        self.savings = savings
        self.model, self.optimizer = fabric.setup(model if compiled_for is None else _compiled(model), optimizer)
        if self.average is not None:
            self.average.to(fabric.device)

    @property
    def result(self) -> nn.Module:
        """The network to evaluate and save: the average where there is one."""
        return self.network if self.average is None else self.average.module

    def state_dict(self) -> dict[str, Any]:
        """Everything `load_state_dict` needs to go on as if nothing had happened."""
        return {
            "model": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {
                "base_lrs": list(self.schedule.base_lrs),
                "last_epoch": self.schedule.last_epoch,
            },
            "precision": self.fabric.strategy.precision.state_dict(),  # the scale of fp16's gradients
            "progress": vars(self.progress),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.network.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.base_lrs = state["schedule"]["base_lrs"]
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.progress = Progress(**{**state["progress"], "best": tuple(state["progress"]["best"])})


def fit(
    learner: Learner,
    loader: "DataLoader[Any]",
    sampler: EpochSampler,
    *,
    objective: Objective,
    num_steps: int,
    seed: int,
    hooks: Hooks,
) -> None:
    """Train until `num_steps` updates are done or a hook ends it.

    Raises:
        DataError: A video cannot be decoded (or, where those are skipped, a whole batch of them), or the loss is no
            longer a finite number.
        T3DError: The device is out of memory, or the network cannot be compiled.
    """
    progress = learner.progress
    while not progress.stopped and (progress.step < num_steps or progress.batch):  # an epoch in hand is closed first
        if progress.step < num_steps:
            sampler.start(progress.epoch, skip_batches=progress.batch)
            _rest_of_epoch(learner, loader, objective=objective, num_steps=num_steps, seed=seed, hooks=hooks)
        hooks.on_epoch(learner)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        progress.loss_sum, progress.num_correct, progress.num_clips = 0.0, 0.0, 0
        hooks.save(learner)


def _rest_of_epoch(
    learner: Learner, loader: "DataLoader[Any]", *, objective: Objective, num_steps: int, seed: int, hooks: Hooks
) -> None:
    progress = learner.progress
    learner.model.train()
    keep_frozen_in_eval(learner.network)
    for batches in _groups(iterate(loader), objective.accumulate):
        torch.manual_seed((seed * 1_000_003 + progress.step) * 1_009 + learner.fabric.global_rank)  # dropout
        _update(learner, batches, objective)
        hooks.on_step(learner)
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
    """Add a batch's part of the gradient of the mean loss over all `num_clips` of the update."""
    with _uncompiled(learner.compiled_for not in (None, batch.num_clips)):
        outcome = objective.judge(learner.model, batch, learner.fabric.device)
    value = outcome.loss.item()
    if value != value or value in (float("inf"), float("-inf")):
        raise DataError(f"loss is {value} after {learner.progress.step} updates; lower --lr or set --clip-norm 1")
    learner.fabric.backward(outcome.loss / num_clips)
    learner.progress.loss_sum += value
    learner.progress.num_correct += outcome.num_correct


def _compiled(model: nn.Module) -> nn.Module:
    compiled = torch.compile(model, dynamic=False)
    assert isinstance(compiled, nn.Module)
    return compiled


def _uncompiled(wanted: bool) -> AbstractContextManager[object]:
    return torch.compiler.set_stance("force_eager") if wanted else nullcontext()


def _count(progress: Progress, batches: list[Batch]) -> None:
    progress.step += 1
    progress.batch += len(batches)
    progress.num_clips += sum(batch.num_clips for batch in batches)
    for batch in batches:
        progress.skipped.extend(failure for failure in batch.failures if failure not in progress.skipped)


def _remedy(error: RuntimeError, *, batch_size: int, accumulate: int, savings: Iterable[str]) -> str | None:
    """What to tell of an update that failed, where the user can do something about it."""
    if _is_memory(error):
        return (
            f"out of memory with --batch-size {batch_size}; halve it and double --accumulate (now {accumulate}) for "
            f"the same update{''.join(f', or add {flag}' for flag in savings)}"
        )
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"torch.compile failed ({str(error).strip().partition(chr(10))[0][:200]}); leave out --compile"
    return None


def _is_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed: PyTorch has a type for this on GPUs, and only words on CPUs."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
