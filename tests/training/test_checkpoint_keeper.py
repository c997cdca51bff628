"""When checkpoints are written, and what they cost."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from onelook.errors import RunFolderError
from onelook.losses.detection_loss import DetectionLoss
from onelook.runs.checkpoint import load_checkpoint, save_checkpoint
from onelook.runs.run_dir import RunDir
from onelook.runs.run_status import new_run
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
        if saver.is_due(epoch_ended=True):
            saver.save(state())
    spent = sum(event.seconds for event in seen.events)
    assert len(seen.events) > 20
    assert spent <= 0.02 * (training + spent)


def test_within_an_epoch_the_interval_decides(tmp_path: Path, clock: Clock) -> None:
    seen = Seen()
    saver, _ = keeper(tmp_path, clock, seen, save_interval=100.0)
    for _ in range(1000):
        clock.now += 1.0
        if saver.is_due(epoch_ended=False):
            saver.save(state())
    assert 8 <= len(seen.events) <= 10


def test_without_saving_nothing_is_written_until_told(tmp_path: Path, clock: Clock) -> None:
    seen = Seen()
    saver, run = keeper(tmp_path, clock, seen, nosave=True)
    clock.now += 1000
    assert not saver.is_due(epoch_ended=True)
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


def fail(number: int) -> Callable[..., None]:
    """A writer for a disk on which nothing can be written, for the reason `number`."""

    def save(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return save


def test_a_write_that_fails_leaves_the_two_states_before_it_and_nothing_else(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver, run = keeper(tmp_path, clock, Seen())
    for step in (1, 2):
        at_step = state()
        at_step.progress.step = step
        saver.save(at_step)
    before = {path.name: path.read_bytes() for path in run.weights.iterdir()}
    assert load_checkpoint(run.previous).document["progress"]["step"] == 1
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_keeper, "save_checkpoint", fail(errno.ENOSPC))
        saver.save(state())
    assert {path.name: path.read_bytes() for path in run.weights.iterdir()} == before
    saver.save(state())
    assert load_checkpoint(run.previous).document["progress"]["step"] == 2


def test_a_best_that_cannot_be_written_is_not_named_by_a_last(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver, run = keeper(tmp_path, clock, Seen())
    saver.remember_best(state(), {"epoch": 0})
    original = checkpoint_keeper.save_checkpoint

    def only_last(path: Path, *rest: object) -> None:
        (fail(errno.ENOSPC) if path == run.best else original)(path, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_keeper, "save_checkpoint", only_last)
        saver.save(state())
    assert not run.last.exists()
    saver.save(state())
    assert run.best.exists() and run.last.exists()


@pytest.mark.parametrize(
    ("saved_before", "hint"), [(False, "nothing of this run is saved"), (True, "the checkpoint before it is whole")]
)
def test_the_hint_on_a_full_disk_promises_only_what_is_there(
    saved_before: bool, hint: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver, run = keeper(tmp_path, clock, Seen())
    save_checkpoint(run.last, {}, {"run": {"id": "an earlier run"}})
    run.begin(new_run())
    saver = CheckpointKeeper(run, TrainSettings(), common={"run": {"id": run.record.run_id}}, observers=Observers())
    if saved_before:
        saver.save(state())
    monkeypatch.setattr(checkpoint_keeper, "save_checkpoint", fail(errno.ENOSPC))
    saver.save(state())
    with pytest.raises(RunFolderError) as caught:
        saver.raise_failure()
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("part", ["weights", "."])
def test_a_run_whose_folder_is_gone_ends_at_the_second_save(
    part: str, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    saver, run = keeper(tmp_path, clock, Seen())
    saver.save(state())
    shutil.rmtree(run.path / part)
    saver.save(state())
    assert "was not written: No such file or directory" in caplog.text
    with pytest.raises(RunFolderError, match="is gone: the run cannot be saved"):
        saver.save(state())


def test_saving_may_take_any_time(tmp_path: Path) -> None:
    """The watch over processes that hang rests as long as the disk is at work."""
    order: list[str] = []

    @contextmanager
    def resting() -> Iterator[None]:
        order.append("rests")
        yield
        order.append("watches")

    class Writes(Callback):
        def on_checkpoint_written(self, event: CheckpointWritten) -> None:
            order.append(event.path.name)

    (tmp_path / "weights").mkdir()
    settings = TrainSettings(save_period=1)
    observers = Observers([Writes()])
    saver = CheckpointKeeper(RunDir(tmp_path), settings, common={}, observers=observers, resting=resting)
    saver.save(state())
    saver.save_numbered(state(), 1)
    assert order == ["rests", "last.safetensors", "watches", "rests", "epoch1.safetensors", "watches"]


def test_a_checkpoint_says_which_run_wrote_it_and_when_and_how_trackers_know_it(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    common = {"run": {"id": "abc", "began": "2026-01-02T03:04:05Z"}}
    run = RunDir(tmp_path)
    trackers = {"wandb": "x1"}
    saver = CheckpointKeeper(run, TrainSettings(), common=common, observers=Observers(), trackers=lambda: trackers)
    saver.save(state())
    told = load_checkpoint(run.last).document["run"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told.pop("saved"))
    assert told == {"id": "abc", "began": "2026-01-02T03:04:05Z", "trackers": {"wandb": "x1"}}
