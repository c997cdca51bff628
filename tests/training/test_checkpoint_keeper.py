"""When checkpoints are written, and what they cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from onelook.errors import RunFolderError
from onelook.losses.detection_loss import DetectionLoss
from onelook.runs.checkpoint import load_checkpoint
from onelook.runs.run_dir import RunDir
from onelook.settings.train import TrainSettings
from onelook.structures.anchors import AnchorGrid
from onelook.training import checkpoint_keeper
from onelook.training.callback import Callback, CheckpointWritten, Observers
from onelook.training.checkpoint_keeper import CheckpointKeeper
from onelook.training.ema import ModelEma
from onelook.training.optimizer import create_optimizer
from onelook.training.state import Progress, TrainState

COST = 0.5


class Clock:
    """A clock that stands still unless it is moved; saving moves it by `COST` seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Seen(Callback):
    def __init__(self) -> None:
        self.events: list[CheckpointWritten] = []

    def on_checkpoint_written(self, event: CheckpointWritten) -> None:
        self.events.append(event)


def state() -> TrainState:
    model = nn.Linear(2, 2)
    grid = AnchorGrid(torch.ones(3, 1, 2), torch.tensor([8.0, 16.0, 32.0]))
    return TrainState(
        model=model,
        ema=ModelEma(model, total_updates=100),
        optimizer=create_optimizer(model, TrainSettings(optimizer="SGD"), 0.0),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        loss=DetectionLoss(grid, num_classes=2, imgsz=64, hyperparameters=TrainSettings()),
        progress=Progress(),
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    original = checkpoint_keeper.save_checkpoint

    def slow(*arguments: object) -> None:
        original(*arguments)  # type: ignore[arg-type]
        clock.now += COST

    monkeypatch.setattr(checkpoint_keeper, "save_checkpoint", slow)
    return clock


def keeper(folder: Path, clock: Clock, seen: Seen, **given: object) -> tuple[CheckpointKeeper, RunDir]:
    run = RunDir(folder)
    run.weights.mkdir()
    settings = TrainSettings.model_validate(given)
    return CheckpointKeeper(run, settings, common={}, observers=Observers([seen]), clock=clock), run


def test_saving_takes_less_than_two_percent_however_short_the_epochs(tmp_path: Path, clock: Clock) -> None:
    seen = Seen()
    saver, _ = keeper(tmp_path, clock, seen)
    training = 0.0
    for _ in range(2000):
        clock.now += 1.0
        training += 1.0
        saver.save_if_due(state(), epoch_ended=True)
    spent = sum(event.seconds for event in seen.events)
    assert len(seen.events) > 20
    assert spent <= 0.02 * (training + spent)


def test_within_an_epoch_the_interval_decides(tmp_path: Path, clock: Clock) -> None:
    seen = Seen()
    saver, _ = keeper(tmp_path, clock, seen, save_interval=100.0)
    for _ in range(1000):
        clock.now += 1.0
        saver.save_if_due(state(), epoch_ended=False)
    assert 8 <= len(seen.events) <= 10


def test_without_saving_nothing_is_written_until_told(tmp_path: Path, clock: Clock) -> None:
    seen = Seen()
    saver, run = keeper(tmp_path, clock, seen, nosave=True)
    clock.now += 1000
    saver.save_if_due(state(), epoch_ended=True)
    assert not seen.events
    saver.save(state())
    assert run.last.is_file()


def test_the_best_is_written_before_the_last_that_knows_of_it(tmp_path: Path, clock: Clock) -> None:
    seen = Seen()
    saver, run = keeper(tmp_path, clock, seen)
    trained = state()
    saver.remember_best(trained, {"epoch": 0})
    at_that_time = trained.ema.module.weight.clone()
    with torch.no_grad():
        trained.ema.module.weight.add_(1.0)  # type: ignore[operator]
    saver.save(trained)
    saver.save(trained)
    assert [event.path for event in seen.events] == [run.best, run.last, run.last]
    assert torch.equal(load_checkpoint(run.best).tensors["ema/weight"], at_that_time)
    assert run.previous.is_file()


def test_a_write_that_fails_is_told_at_the_end_unless_a_later_one_succeeds(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saver, run = keeper(tmp_path, clock, Seen())
    saver.save(state())
    before = run.last.read_bytes()

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_keeper, "save_checkpoint", fail)
        saver.save(state())
    assert run.last.read_bytes() == before
    assert "No space left on device" in caplog.text
    with pytest.raises(RunFolderError, match="No space left"):
        saver.raise_failure()
    saver.save(state())
    saver.raise_failure()
