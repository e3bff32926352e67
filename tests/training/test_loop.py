"""Every expectation is made by plain PyTorch from the clips that the dataset gives, without the package's loop."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from t3d.data.clips import EpochSampler, TrainBatch
from t3d.errors import DataError, T3DError
from t3d.training.loop import Batch, Callbacks, Learner, LossOutput, Objective, fit
from t3d.training.objective import Classification
from t3d.training.optim import freeze_stages, stage_of
from t3d.video.spec import PixelSpec

PIXELS = PixelSpec(resize=32, crop_size=32)
SIX = [f"{index}.mp4" for index in range(6)]
UNEVEN = [0, 0, 0, 0, 1, 2]
WEIGHTS = torch.tensor([0.5, 2.0, 2.0])

Loading = Callable[..., tuple["DataLoader[Any]", EpochSampler]]
MakeLearner = Callable[..., Learner]
MakeModel = Callable[..., nn.Module]


class Recording(Callbacks, Protocol):
    """Callbacks that only remember what was called, and when."""

    calls: list[tuple[str, int]]


def _all_clips(loading: Loading, labels: list[int] | None = None, *, epoch: int = 0) -> tuple[Tensor, Tensor]:
    """Normalised clips (B, C, T, H, W) and labels (B,) of one epoch in the sampler's order."""
    loader, sampler = loading(SIX, batch_size=6, labels=labels)
    sampler.start(epoch)
    (batch,) = loader
    return (batch.clips.float() / 255 - 0.45) / 0.225, batch.labels


def _step(make: MakeLearner, model: nn.Module, loading: Loading, callbacks: Callbacks, **options: object) -> Learner:
    """One update on all six videos."""
    batch_size, labels = options.pop("batch_size", 6), options.pop("labels", None)
    num_steps = options.pop("num_steps", 1)
    objective = Classification(
        pixels=PIXELS, **{k: options.pop(k) for k in list(options) if k in vars(Classification(pixels=PIXELS))}
    )
    loader, sampler = loading(SIX, batch_size=batch_size, labels=labels)
    learner = make(model, **options)
    fit(learner, loader, sampler, objective=objective, num_steps=num_steps, seed=0, callbacks=callbacks)
    return learner


def _after(model: nn.Module, loss: Tensor, *, lr: float = 0.1) -> list[Tensor]:
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return [(p - lr * grad).detach() for p, grad in zip(model.parameters(), grads, strict=True)]


def _assert_close(found: nn.Module, expected: list[Tensor]) -> None:
    for parameter, value in zip(found.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-5, atol=1e-5)


def test_an_update_is_the_weights_minus_rate_times_gradient(
    micro_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    reference = micro_model().train()
    clips, labels = _all_clips(loading)
    logits = reference(clips)
    expected = _after(reference, F.cross_entropy(logits, labels))
    done = _step(learner, micro_model(), loading, no_callbacks)
    _assert_close(done.network, expected)
    assert done.progress.loss_sum == pytest.approx(0.0)  # the epoch was closed
    assert no_callbacks.calls == [("step", 1), ("epoch", 0), ("save", 1)]


def test_gradients_do_not_add_up_over_updates(
    toy_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    reference = toy_model()
    for epoch in range(2):
        clips, labels = _all_clips(loading, epoch=epoch)
        with torch.no_grad():
            for parameter, value in zip(reference.parameters(), _after_grad(reference, clips, labels), strict=True):
                parameter.copy_(value)
    done = _step(learner, toy_model(), loading, no_callbacks, num_steps=2)
    _assert_close(done.network, [p.detach() for p in reference.parameters()])


def _after_grad(model: nn.Module, clips: Tensor, labels: Tensor) -> list[Tensor]:
    with torch.enable_grad():
        return _after(model, F.cross_entropy(model(clips), labels))


@pytest.mark.parametrize("batch_size", [3, 4, 2])
@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
def test_accumulated_parts_equal_one_batch(
    batch_size: int, class_weights: Tensor | None, toy_model: MakeModel, learner: MakeLearner, no_callbacks: Recording
) -> None:
    """Also with unequal parts: 6 videos in batches of 4 are 4 + 2."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(256, (6, 3, 4, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.tensor(UNEVEN)
    objective = Classification(pixels=PIXELS, class_weights=class_weights, label_smoothing=0.1, accumulate=3)
    results = []
    for size in (6, batch_size):
        parts = [TrainBatch(c, y, []) for c, y in zip(clips.split(size), labels.split(size), strict=True)]
        done = learner(toy_model())
        _fit_batches(done, parts, objective, no_callbacks)
        results.append(list(done.network.parameters()))
        assert done.progress.step == 1
    for whole, parts_sum in zip(*results, strict=True):
        torch.testing.assert_close(whole, parts_sum, rtol=1e-6, atol=1e-7)


def _fit_batches(learner: Learner, batches: list[TrainBatch], objective: Classification, callbacks: Callbacks) -> None:
    """One update on these very batches."""
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)
    sampler = EpochSampler(len(batches), batch_size=1, seed=0)
    fit(learner, loader, sampler, objective=objective, num_steps=1, seed=0, callbacks=callbacks)


def test_the_loss_has_smoothing_and_class_weights(
    toy_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    clips, labels = _all_clips(loading, UNEVEN)
    reference = toy_model()
    log_scores = reference(clips).log_softmax(dim=1)
    target = 0.9 * F.one_hot(labels, 3) + 0.1 / 3
    loss = -(target * log_scores * WEIGHTS).sum(dim=1).sum() / 6  # mean over clips, not over weights
    # The same by PyTorch, whose weighted mean divides by the weights of the labels instead.
    torch_mean = F.cross_entropy(reference(clips), labels, weight=WEIGHTS, label_smoothing=0.1)
    torch.testing.assert_close(loss, torch_mean * WEIGHTS[labels].sum() / 6)
    done = _step(learner, toy_model(), loading, no_callbacks, labels=UNEVEN, label_smoothing=0.1, class_weights=WEIGHTS)
    _assert_close(done.network, _after(reference, loss))


def test_a_batch_of_one_class_is_weighed_too(
    toy_model: MakeModel, learner: MakeLearner, no_callbacks: Recording
) -> None:
    clips = torch.full((2, 3, 4, 8, 8), 200, dtype=torch.uint8)
    moved = []
    for weights in (None, WEIGHTS):
        done = learner(toy_model())
        batch = TrainBatch(clips, torch.tensor([1, 1]), [])
        objective = Classification(pixels=PIXELS, class_weights=weights)
        _fit_batches(done, [batch], objective, no_callbacks)
        moved.append(done.network.classifier.bias.detach() - toy_model().classifier.bias.detach())
    torch.testing.assert_close(moved[1], 2.0 * moved[0])


@pytest.mark.parametrize("clip_norm", [0.01, 1e6])
def test_gradients_are_clipped_to_the_norm(
    clip_norm: float, toy_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    reference = toy_model()
    clips, labels = _all_clips(loading)
    grads = torch.autograd.grad(F.cross_entropy(reference(clips), labels), list(reference.parameters()))
    norm = torch.cat([grad.flatten() for grad in grads]).norm()
    scale = min(1.0, clip_norm / (float(norm) + 1e-6))
    expected = [(p - 0.1 * scale * grad).detach() for p, grad in zip(reference.parameters(), grads, strict=True)]
    _assert_close(_step(learner, toy_model(), loading, no_callbacks, clip_norm=clip_norm).network, expected)


def test_the_average_starts_at_the_first_update_and_lags(
    micro_model: MakeModel, learner: MakeLearner, loading: Loading
) -> None:
    kept: list[dict[str, Tensor]] = []

    class Keep:
        def on_step(self, learner: Learner) -> None:
            kept.append(copy.deepcopy(learner.network.state_dict()))

        def on_epoch(self, learner: Learner) -> None: ...

        def save(self, learner: Learner) -> None: ...

    done = _step(learner, micro_model(), loading, Keep(), ema_decay=0.75, num_steps=2)
    assert done.result is not done.network
    for name, value in done.result.state_dict().items():
        if value.is_floating_point():  # statistics of the normalisations, too
            torch.testing.assert_close(value, 0.75 * kept[0][name] + 0.25 * kept[1][name])
    assert any(not torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_without_average_the_network_is_the_result(toy_model: MakeModel, learner: MakeLearner) -> None:
    model = toy_model()
    assert learner(model).result is model


def test_progress_counts_clips_losses_and_hits(toy_model: MakeModel, learner: MakeLearner, loading: Loading) -> None:
    seen: dict[str, Any] = {}

    class Look:
        def on_step(self, learner: Learner) -> None: ...

        def on_epoch(self, learner: Learner) -> None:
            seen.update(vars(learner.progress))

        def save(self, learner: Learner) -> None: ...

    done = _step(learner, toy_model(), loading, Look(), batch_size=3, lr=0.0)
    clips, labels = _all_clips(loading)
    logits = toy_model()(clips[:3]).detach()
    assert seen["num_clips"] == 3  # one update of three clips, then the limit
    assert seen["loss_sum"] == pytest.approx(float(F.cross_entropy(logits, labels[:3], reduction="sum")), rel=1e-5)
    assert seen["num_correct"] == int((logits.argmax(dim=1) == labels[:3]).sum())
    assert (done.progress.epoch, done.progress.batch, done.progress.num_clips) == (1, 0, 0)


def test_the_number_of_updates_is_kept_across_epochs(
    toy_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    """Batches of 2 in pairs: 2 updates an epoch (2 + 1 batches)."""
    done = _step(learner, toy_model(), loading, no_callbacks, batch_size=2, accumulate=2, num_steps=3)
    assert done.progress.step == 3
    assert [call for call in no_callbacks.calls if call[0] != "save"] == [
        *(("step", 1), ("step", 2), ("epoch", 0)),
        *(("step", 3), ("epoch", 1)),
    ]


def test_frozen_parts_stay_bit_for_bit(micro_model: MakeModel, learner: MakeLearner, loading: Loading) -> None:
    class Nothing:
        def on_step(self, learner: Learner) -> None: ...

        def on_epoch(self, learner: Learner) -> None:
            learner.network.eval()  # as a validation would

        def save(self, learner: Learner) -> None: ...

    model = micro_model()
    freeze_stages(model, 3)
    before = copy.deepcopy(model.state_dict())
    done = _step(
        learner, model, loading, Nothing(), num_steps=2, ema_decay=0.5, momentum=0.9, nesterov=True, weight_decay=0.1
    )
    for network in (done.network, done.result):
        for name, value in network.state_dict().items():
            if not value.is_floating_point():
                continue
            assert torch.equal(value, before[name]) == (stage_of(name) < 3), name


class _Broken(nn.Module):
    """Raises instead of scoring."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.classifier = nn.Linear(3, 3)
        self.error = error

    def forward(self, clips: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)
def test_running_out_of_memory_names_the_flags(
    error: Exception, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    halve = "out of memory with --batch-size 3; halve it and double --accumulate (now 2) for the same update"
    for savings, more in (((), ""), (("--x", "--y"), ", or add --x, or add --y")):
        with pytest.raises(T3DError) as caught:
            _step(learner, _Broken(error), loading, no_callbacks, batch_size=3, accumulate=2, savings=savings)
        assert str(caught.value) == halve + more


def test_a_real_failed_allocation_is_recognised(
    learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    with pytest.raises(RuntimeError) as allocation:
        torch.empty(2**50)
    with pytest.raises(T3DError, match="out of memory"):
        _step(learner, _Broken(allocation.value), loading, no_callbacks)


def test_other_errors_pass_unchanged(learner: MakeLearner, loading: Loading, no_callbacks: Recording) -> None:
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError) as caught:
        _step(learner, _Broken(error), loading, no_callbacks)
    assert caught.value is error
    assert error.__cause__ is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops(
    value: float, toy_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    model = toy_model()
    nn.init.constant_(model.classifier.bias, value)
    with pytest.raises(DataError, match=r"loss is nan after 0 updates; lower --lr or set --clip-norm 1"):
        _step(learner, model, loading, no_callbacks)
    assert no_callbacks.calls == []


WITH_BAD = ["0.mp4", "1.mp4", "bad2.mp4", "3.mp4"]


def test_an_undecodable_video_stops_and_says_how_to_go_on(
    toy_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    loader, sampler = loading(WITH_BAD, batch_size=4)
    with pytest.raises(DataError, match=r"bad2\.mp4: truncated; .*--bad-videos skip"):
        fit(
            learner(toy_model()),
            loader,
            sampler,
            objective=Classification(pixels=PIXELS),
            num_steps=1,
            seed=0,
            callbacks=no_callbacks,
        )


def test_undecodable_videos_are_left_out_and_noted_once(
    toy_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    loader, sampler = loading(WITH_BAD, batch_size=4)
    done = learner(toy_model())
    objective = Classification(pixels=PIXELS, skip_bad_videos=True)
    fit(done, loader, sampler, objective=objective, num_steps=2, seed=0, callbacks=no_callbacks)
    assert done.progress.skipped == ["/nowhere/bad2.mp4: truncated"]

    expected = toy_model()
    for epoch in range(2):
        sampler.start(epoch)
        (batch,) = loader
        assert len(batch.labels) == 3
        clips = (batch.clips.float() / 255 - 0.45) / 0.225
        with torch.no_grad():
            for parameter, value in zip(expected.parameters(), _after_grad(expected, clips, batch.labels), strict=True):
                parameter.copy_(value)
    _assert_close(done.network, [p.detach() for p in expected.parameters()])


def test_a_wholly_undecodable_batch_among_good_ones_is_left_out(
    toy_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    """Wherever it stands, the update is that of the good batch alone."""
    good = TrainBatch(torch.full((2, 3, 4, 8, 8), 9, dtype=torch.uint8), torch.tensor([0, 1]), [])
    empty = TrainBatch(torch.empty(0, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), ["a: truncated"])
    objective = Classification(pixels=PIXELS, accumulate=2, skip_bad_videos=True)
    biases = []
    for parts in ([good], [good, empty], [empty, good]):
        done = learner(toy_model())
        _fit_batches(done, parts, objective, no_callbacks)
        biases.append(done.network.classifier.bias.detach())
    assert torch.equal(biases[0], biases[1])
    assert torch.equal(biases[0], biases[2])


def test_an_update_without_any_video_stops(
    toy_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    loader, sampler = loading(["bad0.mp4", "bad1.mp4"], batch_size=2)
    objective = Classification(pixels=PIXELS, skip_bad_videos=True)
    with pytest.raises(DataError, match=r"no video of a whole batch can be decoded, first: .*bad[01]\.mp4: truncated"):
        fit(learner(toy_model()), loader, sampler, objective=objective, num_steps=1, seed=0, callbacks=no_callbacks)


class _Numbers(NamedTuple):
    """A batch of a kind of its own."""

    values: Tensor
    failures: list[str]

    @property
    def num_clips(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class _Nearness:
    """Half the squared distance of the bias to numbers, all of which are near enough by a third."""

    accumulate: int = 1
    clip_norm: float | None = None
    skip_bad_videos: bool = False

    def compute_loss(self, model: nn.Module, batch: _Numbers, device: torch.device) -> LossOutput:
        away = model.get_parameter("classifier.bias")[0] - batch.values
        return LossOutput((away**2 / 2).sum(), len(batch.values) / 3)


def test_any_objective_on_any_batch_is_minimised(toy_model: MakeModel, learner: MakeLearner) -> None:
    """Three numbers, then one, summed up: the gradient is the mean distance of all four."""
    seen: dict[str, Any] = {}

    class Look:
        def on_step(self, learner: Learner) -> None: ...

        def on_epoch(self, learner: Learner) -> None:
            seen.update(vars(learner.progress))

        def save(self, learner: Learner) -> None: ...

    batches = [_Numbers(torch.tensor([1.0, 2.0, 6.0]), []), _Numbers(torch.tensor([3.0]), [])]
    assert isinstance(batches[0], Batch)
    assert isinstance(_Nearness(), Objective)
    assert isinstance(Classification(pixels=PIXELS), Objective)
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)
    done = learner(toy_model(), lr=0.5)
    sampler = EpochSampler(2, batch_size=1, seed=0)
    fit(done, loader, sampler, objective=_Nearness(accumulate=2), num_steps=1, seed=0, callbacks=Look())
    start = float(toy_model().classifier.bias[0].detach())
    assert float(done.network.classifier.bias[0].detach()) == pytest.approx(start - 0.5 * (start - 3.0))
    losses = [(start - value) ** 2 / 2 for value in (1, 2, 6, 3)]
    assert seen["loss_sum"] == pytest.approx(sum(losses))
    assert seen["num_correct"] == pytest.approx(4 / 3)  # shares of a clip are counted, too
    assert seen["num_clips"] == 4


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch 2.13, importing its own compiler
def test_a_compiled_step_is_that_of_the_network_and_is_compiled_for_full_batches_only(
    toy_model: MakeModel,
    learner: MakeLearner,
    loading: Loading,
    no_callbacks: Recording,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # without g++
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(torch._dynamo.config, "error_on_recompile", True)

    def learn(compiled_for: int | None) -> Learner:
        done = learner(toy_model(), ema_decay=0.5, compiled_for=compiled_for)
        loader, sampler = loading(["a.mp4", "b.mp4", "c.mp4", "bad.mp4", "d.mp4", "e.mp4"], batch_size=2)
        objective = Classification(pixels=PIXELS, skip_bad_videos=True)
        fit(done, loader, sampler, objective=objective, num_steps=6, seed=0, callbacks=no_callbacks)
        return done

    plain, compiled = learn(None), learn(2)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert list(compiled.state_dict()["model"]) == list(plain.state_dict()["model"])
    assert list(compiled.state_dict()["average"]) == list(plain.state_dict()["average"])
    for name, value in plain.state_dict()["model"].items():
        torch.testing.assert_close(compiled.state_dict()["model"][name], value)


@pytest.mark.parametrize("kind", ["python", "compiler", "compiler, backwards"])
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch 2.13, importing its own compiler
def test_a_network_that_cannot_be_compiled_is_one_line(
    kind: str, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    from torch._dynamo.exc import Unsupported
    from torch._inductor.exc import CppCompileError, InductorError

    errors = {
        "python": (Unsupported("no such thing\nand where", case_name="test"), "no such thing"),
        "compiler": (InductorError(OSError("no g++\nat all"), None), "OSError: no g[+][+]"),
        "compiler, backwards": (CppCompileError(["g++"], "line 1"), "C[+][+] compile error"),
    }
    error, reason = errors[kind]
    with pytest.raises(T3DError, match=rf"^torch.compile failed \({reason}\); leave out --compile$"):
        _step(learner, _Broken(error), loading, no_callbacks)


def test_random_layers_draw_anew_in_every_update_and_alike_in_every_run(
    toy_model: MakeModel, learner: MakeLearner, loading: Loading, no_callbacks: Recording
) -> None:
    class Drawing(nn.Module):
        """A toy that keeps what it drew."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = toy_model()
            self.drawn: list[float] = []

        def forward(self, clips: Tensor) -> Tensor:
            self.drawn.append(torch.rand(()).item())
            return self.inner(clips)

    runs = [Drawing(), Drawing()]
    for model in runs:
        _step(learner, model, loading, no_callbacks, batch_size=2, num_steps=3)
    assert runs[0].drawn == runs[1].drawn
    assert len(set(runs[0].drawn)) == 3
