"""`--time`: the run ends in time, its learning rate at its end, and a resumed run as one that was never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoint_content import content_of
from option_runs import covers, fit
from stop_at import StopAt
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from onelook.errors import SettingsError, StopRequested
from onelook.models.detector import DetectionModel
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.preparation import prepare
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.settings.build import build_settings
from onelook.settings.evolve import EvolveSettings
from onelook.training import pilot
from onelook.training.batch_gradient import multi_scale_size
from onelook.training.callback import Callback, StepEnd

FILES = ("weights/last.safetensors", "weights/best.safetensors", "results.csv", "settings.yaml")
SECONDS_A_STEP = 2.0
TRY = pilot._seconds_per_image  # which other tests leave out


class Clock(Callback):
    """Time passes with the steps of a run and stands still otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, slow_from: int = 10**9) -> None:
        self.now = 0.0
        self.slow_from = slow_from
        for module in ("recipes.preparation", "training.pilot", "training.time_budget"):
            monkeypatch.setattr(f"onelook.{module}.monotonic", lambda: self.now)

    def on_step_end(self, event: StepEnd) -> None:
        self.now += SECONDS_A_STEP * (3 if event.step >= self.slow_from else 1)


@pytest.fixture
def settings(tiny_settings: dict[str, Any]) -> dict[str, Any]:
    """Five batches an epoch, 10 seconds."""
    given = {name: value for name, value in tiny_settings.items() if name != "epochs"}
    return {**given, "batch_size": 4, "time": 120 / 3600, "optimizer": "SGD", "lr0": 0.003, "close_mosaic": 0.2}


@pytest.fixture(autouse=True)
def three_epochs_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still in the first try of a few steps: what it finds is given."""
    monkeypatch.setattr("onelook.training.pilot._seconds_per_image", lambda *_: 1.5)


@covers("train", "time")
def test_a_run_with_a_budget_of_time_ends_within_it_at_the_end_of_its_learning_rate(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    run = fit(settings, clock)
    progress = load_checkpoint(run.result.last).document["progress"]
    assert progress["turns"] == [[1, 11]], "the first epoch was faster than expected"
    assert run.result.outcome.epochs_done == progress["epoch"] == 11
    assert run.result.outcome.reason == "finished"
    assert clock.now == 110
    rates = [row["x/lr2"] for row in run.result.outcome.history]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.003 * 0.04
    assert [epoch.epochs for epoch in run.trace.epochs] == [11] * 11
    document = load_checkpoint(run.result.last).document["settings"]
    assert (document["epochs"], document["time"]) == (3, 120 / 3600)


def test_a_run_that_slows_down_is_shortened(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, slow_from=15)
    run = fit(settings, clock)
    rates = [row["x/lr2"] for row in run.result.outcome.history]
    assert load_checkpoint(run.result.last).document["progress"]["turns"] == [[1, 11], [3, 10], [4, 5]]
    assert clock.now == 94
    assert rates[-1] < 0.003 * 0.2, "a fifth of the last epoch's fall is left"


def test_a_run_stopped_at_any_step_ends_as_the_undisturbed_one(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, slow_from=15)
    whole = train({**settings, "project": tmp_path / "whole"}, callbacks=[clock]).run_folder
    for step in (22,):  # after it has slowed down
        clock = Clock(monkeypatch, slow_from=15)
        folder = tmp_path / f"at{step}" / "exp"
        with pytest.raises(StopRequested):
            train({**settings, "project": folder.parent}, callbacks=[clock, StopAt(step)])
        train({"resume": str(folder)}, callbacks=[clock])
        assert [name for name in FILES if content_of(folder / name) != content_of(whole / name)] == [], step


@pytest.mark.slow  # more epochs for a finished run are given in `test_resume.py`
def test_a_finished_run_goes_on_for_epochs_without_a_budget(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    folder = train(settings, callbacks=[clock]).run_folder
    assert train({"resume": str(folder)}).outcome.epochs_done == 11, "there is nothing left to do"
    assert train({"resume": str(folder), "epochs": 13}).outcome.epochs_done == 13
    with pytest.raises(SettingsError, match=r"`time` was 0\.0 and would become 1\.0"):
        train({"resume": str(folder), "time": 1.0})


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"time": -1}, "time", ""),
        ({"time": float("inf")}, "time", ""),
        ({"time": 1, "epochs": 10}, "`time: 1` and `epochs: 10` cannot be used together", "drop one of them"),
        (
            {"time": 20 / 3600},
            "hours are not enough for one epoch, which takes about 0:34",
            "use `--time 0.019` or more",
        ),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], message: str, hint: str
) -> None:
    Clock(monkeypatch)
    with pytest.raises(SettingsError) as refusal:
        train({**settings, **given})
    assert message in refusal.value.message
    assert hint in (refusal.value.hint or "")
    assert not Path(settings["project"]).exists(), "nothing was written"


def test_the_first_try_sees_images_of_as_many_sizes_as_the_run_will(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelook.training.pilot._seconds_per_image", TRY)
    sides: list[int] = []
    hook = register_module_forward_pre_hook(
        lambda module, given: sides.append(given[0].shape[2]) if isinstance(module, DetectionModel) else None
    )
    group = ProcessGroup()
    with hook, StopSignal() as stop:
        prepare({**settings, "multi_scale": True, "workers": 0}, None, stop, group, resumed=None)
    assert sides == [multi_scale_size(0, step, 64, 32) for step in range(5)]
    assert len(set(sides)) > 1


@pytest.mark.parametrize(("asked", "timed"), [("auto", "AdamW"), ("SGD", "SGD")])
def test_the_first_try_takes_the_optimizer_of_the_run(
    asked: str, timed: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelook.training.pilot._seconds_per_image", TRY)
    seen: set[str] = set()
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: seen.add(type(optimizer).__name__))
    with StopSignal() as stop:
        prepare({**settings, "optimizer": asked, "workers": 0}, None, stop, ProcessGroup(), resumed=None)
    hook.remove()
    assert seen == {timed}


def test_a_search_has_no_budget_of_time() -> None:
    with pytest.raises(SettingsError, match="trials of different lengths"):
        build_settings(EvolveSettings, {"time": 1})
