"""Parameter groups, optimiser state as tensors, and the running average."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from onelook.settings.train import TrainSettings
from onelook.training.ema import ModelEma
from onelook.training.optimizer import (
    apply_plan,
    create_optimizer,
    optimizer_tensors,
    parameter_groups,
    restore_optimizer,
)
from onelook.training.schedule import StepPlan


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.bn(self.conv(images)).mean((2, 3))
        return self.attention(maps, maps, maps)[0] * self.scale


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def test_every_parameter_is_in_exactly_one_group() -> None:
    model = net()
    biases, decayed, norms = parameter_groups(model)
    grouped = [id(parameter) for parameter in [*biases, *decayed, *norms]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    assert {id(p) for p in norms} == {id(model.bn.weight)}
    assert id(model.attention.in_proj_weight) in {id(p) for p in decayed}
    assert id(model.attention.in_proj_bias) in {id(p) for p in biases}
    assert id(model.scale) in {id(p) for p in decayed}


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_optimizer_state_survives_the_way_through_tensors(kind: str) -> None:
    settings = TrainSettings(optimizer=kind)  # type: ignore[arg-type]
    models = [net(), net()]
    optimizers = [create_optimizer(model, settings, 0.001) for model in models]
    images = torch.rand(4, 3, 8, 8)

    def step(number: int) -> None:
        optimizers[number].zero_grad()
        models[number](images).square().sum().backward()
        optimizers[number].step()

    step(0)
    models[1].load_state_dict(models[0].state_dict())
    saved = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizers[0], models[0]).items()}
    assert any(name.endswith("/conv.weight") for name in saved)
    restore_optimizer(optimizers[1], models[1], saved)
    step(0)
    step(1)
    for first, second in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(first, second)


def test_the_plan_reaches_the_groups() -> None:
    optimizer = create_optimizer(net(), TrainSettings(optimizer="SGD"), 0.123)
    apply_plan(optimizer, StepPlan(lr_bias=0.1, lr=0.02, momentum=0.5, is_update=True, loss_scale=1.0))
    groups = optimizer.param_groups
    assert [group["lr"] for group in groups] == [0.1, 0.02, 0.02]
    assert [group["weight_decay"] for group in groups] == [0.0, 0.123, 0.0]
    assert {group["momentum"] for group in groups} == {0.5}


def test_ema_follows_its_formula_for_every_tensor() -> None:
    model = net()
    ema = ModelEma(model, total_updates=1_000_000)
    before = {name: tensor.clone() for name, tensor in ema.module.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
        model.bn.running_mean.add_(2.0)
        model.bn.num_batches_tracked.add_(5)
    ema.update()
    decay = 0.9999 * (1 - math.exp(-1 / 2000))
    after, source = ema.module.state_dict(), model.state_dict()
    for name, old in before.items():
        expected = source[name] if not old.is_floating_point() else decay * old + (1 - decay) * source[name]
        assert torch.allclose(after[name], expected, atol=1e-6), name
    assert ema.updates == 1
    assert ema.decay_at(1) == pytest.approx(decay)
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    assert not ema.module.training


@pytest.mark.parametrize(("total", "late"), [(1_000_000, 0.9999), (520, 1 - 1 / 20.8), (1, 0.0)])
def test_the_memory_of_the_average_fits_the_run(total: int, late: float) -> None:
    ema = ModelEma(net(), total_updates=total)
    assert ema.decay_at(100_000) == pytest.approx(late)
    assert ema.decay_at(1) <= ema.decay_at(2) <= late


@pytest.mark.parametrize(("updates", "published"), [(0, 0.1), (9, 0.52631579), (99, 0.91743119), (999, 0.97530991)])
def test_the_average_forgets_its_beginning_faster_than_the_published_rule(updates: int, published: float) -> None:
    """min(exp(-1 / 40), (1 + n) / (10 + n)) after n updates has the memory of our average in a run of 1000 updates.

    Its ramp is over after some 350 updates, however long the run is; ours takes as long as a tenth of the run says,
    so that nothing of the first weights is left at the end of a short run. The memory at the end is the same.
    """
    assert min(math.exp(-1 / 40), (1 + updates) / (10 + updates)) == pytest.approx(published, abs=1e-8)
    ours = ModelEma(net(), total_updates=1000).decay_at(updates + 1)
    assert ours < published
    assert updates < 999 or ours == pytest.approx(published, abs=4e-4)


@pytest.mark.parametrize(("total", "equal"), [(24, True), (25, True), (50, False)])
def test_the_average_of_a_run_of_up_to_25_updates_is_the_weights_themselves(total: int, equal: bool) -> None:
    model = net()
    ema = ModelEma(model, total_updates=total)
    for _ in range(total):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01)
        ema.update()
    same = [torch.equal(a, b) for a, b in zip(ema.module.parameters(), model.parameters(), strict=True)]
    assert all(same) == equal
