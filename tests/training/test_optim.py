import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from t3d.errors import ConfigError
from t3d.models import ARCHITECTURES, create_model
from t3d.training.optim import (
    NUM_STAGES,
    build_optimizer,
    build_schedule,
    divide_rates,
    freeze_stages,
    keep_frozen_in_eval,
    stage_of,
)

SGD = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "layer_decay": 1.0}

STAGES = {  # a pool between two stages has no parameters, and a network without pre-activation no norm
    "stem.": 0,
    "stages.block1.": 1,
    "stages.transition1.": 2,
    "stages.block2.": 2,
    "stages.transition2.": 3,
    "stages.block3.": 3,
    "stages.transition3.": 4,
    "stages.block4.": 4,
    "norm.": 5,
    "head.": 5,
    "classifier.": 5,
}


def _outline(arch: str) -> nn.Module:
    with torch.device("meta"):
        return create_model(arch, num_classes=3)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_parameter_has_the_stage_of_its_part(arch: str) -> None:
    for name, _ in _outline(arch).named_parameters():
        parts = [prefix for prefix in STAGES if name.startswith(prefix)]
        assert [STAGES[part] for part in parts] == [stage_of(name)], name


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_stages_follow_the_order_of_computation(arch: str) -> None:
    """What a later stage holds is never computed before what an earlier one holds, and none is empty."""
    stages = [stage_of(name) for name, _ in _outline(arch).named_parameters()]
    assert stages == sorted(stages)
    assert set(stages) == set(range(NUM_STAGES))


@pytest.mark.parametrize("arch", ["c3d", "i3d", "inception3d_ttl", "r3d_18", "resnet3d_50_ttl", "t3d_121"])
def test_freezing_and_rates_reach_every_family(arch: str) -> None:
    model = _outline(arch)
    freeze_stages(model, 4)  # up to block 3
    learns = {
        name.split(".")[0] if stage_of(name) == 5 else name.split(".")[1]: p.requires_grad
        for name, p in model.named_parameters()
    }
    assert {part for part, yes in learns.items() if yes} <= {"transition3", "block4", "norm", "head", "classifier"}
    groups = build_optimizer(model, **{**SGD, "layer_decay": 0.5}).param_groups
    assert [(group["stage"], group["lr"]) for group in groups] == [(4, 0.05), (5, 0.1)]
    keep_frozen_in_eval(model.train())
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.training == (stage_of(f"{name}.weight") >= 4), name


def test_layer_decay_makes_a_rate_a_stage(micro_model: Callable[..., nn.Module]) -> None:
    model = micro_model()
    optimizer = build_optimizer(model, **{**SGD, "layer_decay": 0.5})
    rates = [0.003125, 0.00625, 0.0125, 0.025, 0.05, 0.1]
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(rates)
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rate_of) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert rate_of[id(parameter)] == pytest.approx(rates[stage_of(name)])


@pytest.mark.parametrize("num_stages", range(NUM_STAGES + 1))
def test_freezing_stops_the_first_stages(num_stages: int, micro_model: Callable[..., nn.Module]) -> None:
    model = micro_model()
    freeze_stages(model, num_stages)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (stage_of(name) >= num_stages or name.startswith("classifier.")), name
    optimised = {id(p) for group in build_optimizer(model, **SGD).param_groups for p in group["params"]}
    assert optimised == {id(p) for p in model.parameters() if p.requires_grad}
    model.train()
    keep_frozen_in_eval(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.training == (stage_of(f"{name}.weight") >= num_stages), name


def test_freezing_can_be_undone(micro_model: Callable[..., nn.Module]) -> None:
    model = micro_model()
    freeze_stages(model, 6)
    freeze_stages(model, 0)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("num_stages", [-1, 7])
def test_stages_that_are_not_there_are_refused(num_stages: int, micro_model: Callable[..., nn.Module]) -> None:
    with pytest.raises(ConfigError, match=rf"--freeze {num_stages} must lie between 0 and 6"):
        freeze_stages(micro_model(), num_stages)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.0, True)])
def test_updates_by_hand(momentum: float, nesterov: bool) -> None:
    """g <- g + decay p; v <- momentum v + g; p <- p - lr (g + momentum v), or p - lr v without Nesterov's form."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(model.weight, 2.0)
    optimizer = build_optimizer(model, **{**SGD, "momentum": momentum, "nesterov": nesterov})
    weight, velocity = 2.0, 0.0
    for gradient in (0.5, -1.0, 3.0):
        model.weight.grad = torch.tensor([[gradient]], dtype=torch.float64)
        optimizer.step()
        decayed = gradient + 0.01 * weight
        velocity = momentum * velocity + decayed
        weight -= 0.1 * (decayed + momentum * velocity if nesterov else velocity)
        assert float(model.weight.detach()) == pytest.approx(weight, abs=1e-15)


def _rates(num_updates: int, **options: object) -> list[float]:
    """The rate of each of the first updates, from a base rate of 2."""
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(model, **{**SGD, "lr": 2.0})
    defaults = {"num_steps": 10, "warmup_steps": 0, "steps_per_decay": 3, "decay_factor": 0.1}
    schedule = build_schedule(optimizer, **{**defaults, **options})
    rates = []
    for _ in range(num_updates):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_cosine_goes_down_half_a_wave_to_zero() -> None:
    expected = [1 + math.cos(math.pi * step / 10) for step in range(11)]
    assert _rates(12, kind="cosine") == pytest.approx([*expected, 0.0], abs=1e-12)


def test_steps_divide_at_fixed_updates() -> None:
    assert _rates(7, kind="step") == pytest.approx([2, 2, 2, 0.2, 0.2, 0.2, 0.02])


def test_plateau_is_flat_by_itself() -> None:
    assert _rates(12, kind="plateau") == [2.0] * 12


@pytest.mark.parametrize("kind", ["cosine", "step", "plateau"])
def test_warm_up_rises_linearly_under_the_curve(kind: str) -> None:
    """The first of four updates has a quarter of the rate, the fourth all of it."""
    plain, warm = _rates(8, kind=kind), _rates(8, kind=kind, warmup_steps=4)
    shares = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert warm == pytest.approx([rate * share for rate, share in zip(plain, shares, strict=True)])


def test_a_division_holds_from_the_next_update_on() -> None:
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(model, **{**SGD, "lr": 2.0})
    schedule: LambdaLR = build_schedule(
        optimizer, kind="plateau", num_steps=1, warmup_steps=0, steps_per_decay=1, decay_factor=0.1
    )
    rates = []
    for update in range(4):
        if update in (1, 3):
            divide_rates(schedule, 0.1)
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([2.0, 0.2, 0.2, 0.02])
