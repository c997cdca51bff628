"""What an update does with gradients that are finite and with some that are not, in mixed precision and without it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from onelook.errors import NumericsError
from onelook.losses.detection_loss import DetectionLoss
from onelook.settings.train import TrainSettings
from onelook.structures.anchors import AnchorGrid
from onelook.training.ema import ModelEma
from onelook.training.optimizer import create_optimizer, optimizer_tensors
from onelook.training.schedule import StepPlan
from onelook.training.state import Progress, TrainState
from onelook.training.weight_update import MAX_SKIPPED_UPDATES, WeightUpdate

OPTIMIZERS = ("SGD", "Adam", "AdamW")
PLAN = StepPlan(lr_bias=0.02, lr=0.01, momentum=0.9, is_update=True, loss_scale=1.0)


def state(kind: str, *, scaled: bool) -> TrainState:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 4, 1))
    grid = AnchorGrid(torch.ones(3, 1, 2), torch.tensor([8.0, 16.0, 32.0]))
    return TrainState(
        model=model,
        ema=ModelEma(model, total_updates=100),
        optimizer=create_optimizer(model, TrainSettings(optimizer=kind), 0.001),  # type: ignore[arg-type]
        scaler=torch.amp.GradScaler("cpu", enabled=scaled),
        loss=DetectionLoss(grid, num_classes=2, imgsz=64, hyperparameters=TrainSettings()),
        progress=Progress(),
    )


def give_gradients(to: TrainState, number: int, bad: float | None = None) -> None:
    """Gradients that depend on `number` alone, scaled as the scaler asks for; `bad` takes the place of one value."""
    rng = torch.Generator().manual_seed(number)
    scale = to.scaler.scale(torch.ones(()))
    for parameter in to.model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=rng) * scale
    if bad is not None:
        weight = next(to.model.parameters())
        assert weight.grad is not None
        weight.grad.view(-1)[7] = bad


def weights_and_moments(of: TrainState) -> dict[str, Tensor]:
    moments = optimizer_tensors(of.optimizer, of.model)
    return {name: tensor.clone() for name, tensor in {**of.model.state_dict(), **moments}.items()}


def fill_free_memory_with_nonsense() -> None:
    """What uninitialised tensors will hold is then no zero by luck."""
    junk = [torch.full((size,), 4e36) for size in (4, 16, 64, 432) for _ in range(50)]
    del junk


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("when", [0, 1, 3])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_gradients_that_are_not_finite_leave_no_trace(kind: str, when: int, bad: float, scaled: bool) -> None:
    """The run with one bad update more ends in the same bits, also if the very first update is the bad one."""
    clean, hit = state(kind, scaled=scaled), state(kind, scaled=scaled)
    one, other = WeightUpdate(clean), WeightUpdate(hit)
    for number in range(6):
        if number == when:
            fill_free_memory_with_nonsense()
            before = weights_and_moments(hit)
            give_gradients(hit, 100, bad)
            other.apply(PLAN)
            assert all(parameter.grad is None for parameter in hit.model.parameters())
            assert all(torch.equal(value, weights_and_moments(hit)[name]) for name, value in before.items())
        for each, update in ((clean, one), (hit, other)):
            give_gradients(each, number)
            update.apply(PLAN)
    found, expected = weights_and_moments(hit), weights_and_moments(clean)
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert hit.scaler.get_scale() == (clean.scaler.get_scale() / 2 if scaled else 1.0)
    assert all(value.isfinite().all() for value in hit.ema.module.state_dict().values())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_finite_gradients_move_the_weights_as_torch_does(kind: str) -> None:
    """Also the first update, whose momenta torch makes itself."""
    ours, plain = state(kind, scaled=False), state(kind, scaled=False)
    update = WeightUpdate(ours)
    for group in plain.optimizer.param_groups:
        group["lr"] = PLAN.lr_bias if group is plain.optimizer.param_groups[0] else PLAN.lr
        if kind == "SGD":
            group["momentum"] = PLAN.momentum
    for number in range(3):
        give_gradients(ours, number)
        update.apply(PLAN)
        give_gradients(plain, number)
        nn.utils.clip_grad_norm_(plain.model.parameters(), 10.0)
        plain.optimizer.step()
    expected = weights_and_moments(plain)
    assert all(torch.equal(value, expected[name]) for name, value in weights_and_moments(ours).items())


def test_the_verdict_on_an_update_is_known_when_the_next_one_begins() -> None:
    trained = state("SGD", scaled=True)
    update = WeightUpdate(trained)
    give_gradients(trained, 0, torch.nan)
    update.apply(PLAN)
    assert trained.progress.skipped_updates == 0
    give_gradients(trained, 1)
    update.apply(PLAN)
    assert trained.progress.skipped_updates == 1
    update.settle()
    assert trained.progress.skipped_updates == 0


def test_twenty_bad_updates_in_a_row_end_the_run_one_update_later() -> None:
    trained = state("SGD", scaled=True)
    update = WeightUpdate(trained)
    with pytest.raises(NumericsError, match=r"^20 updates in a row .* not finite, at epoch 0, batch 19"):
        for number in itertools.count():
            trained.progress.batch = number
            give_gradients(trained, number, torch.inf)
            update.apply(PLAN)
    assert number == MAX_SKIPPED_UPDATES


def test_a_bad_update_with_bad_statistics_ends_the_run() -> None:
    trained = state("SGD", scaled=False)
    update = WeightUpdate(trained)
    give_gradients(trained, 0, torch.nan)
    trained.model.get_buffer("1.running_var")[3] = torch.nan
    update.apply(PLAN)
    with pytest.raises(NumericsError, match=r"batch-norm statistics `1\.running_var` are not finite at epoch 0"):
        update.settle()
