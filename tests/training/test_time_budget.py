"""How many epochs a budget of time allows, and what a change of a run's length does to its schedule."""

from __future__ import annotations

from itertools import pairwise

import pytest

from onelook.settings.train import TrainSettings
from onelook.training import time_budget
from onelook.training.schedule import Schedule
from onelook.training.state import Progress
from onelook.training.time_budget import TimeBudget, epochs_that_fit


def schedule(*length_changes: tuple[int, int], epochs: int = 10, **given: object) -> Schedule:
    settings = TrainSettings.model_validate({"epochs": epochs, "batch_size": 16, "warmup_epochs": 0, **given})
    return Schedule(settings, 160, length_changes)


@pytest.mark.parametrize(("budget", "spent", "done", "seconds", "epochs"), [
    (1000, 0, 0, 10, 96), (1000, 100, 10, 10, 96), (1000, 969, 10, 10, 10), (1000, 2000, 10, 10, 10),
])  # fmt: skip
def test_epochs_fit_into_what_is_left_of_the_budget(
    budget: float, spent: float, done: int, seconds: float, epochs: int
) -> None:
    assert epochs_that_fit(budget, spent, done, seconds) == epochs
    assert epochs == done or spent + (epochs - done) * seconds <= budget


@pytest.mark.parametrize("length_changes", [(), ((2, 20),), ((4, 6),), ((2, 20), (5, 8), (7, 9)), ((9, 10),)])
@pytest.mark.parametrize("cos_lr", [False, True])
def test_the_learning_rate_continues_without_a_jump_and_comes_to_its_end(
    length_changes: tuple[tuple[int, int], ...], cos_lr: bool
) -> None:
    plan = schedule(*length_changes, cos_lr=cos_lr, lrf=0.1)
    epochs = length_changes[-1][1] if length_changes else 10
    rates = [plan.at(step).lr for step in range(10 * epochs)]
    falls = [before - after for before, after in pairwise(rates)]
    assert plan.total_steps == 10 * epochs
    assert all(0 < fall < 0.01 / 10 for fall in falls), "no jump, at no change of length, and never up"
    assert plan.share_done(10 * epochs) == pytest.approx(1)
    assert rates[-1] == pytest.approx(0.1 * 0.01, rel=0.9), "a step before the end"
    assert plan.share_done(10 * epochs - 1, end=1) == pytest.approx(1)


def test_a_change_of_length_leaves_the_past_as_it_was() -> None:
    before, after = schedule(), schedule((4, 30))
    assert [before.at(step) for step in range(40)] == [after.at(step) for step in range(40)]
    assert before.at(41) != after.at(41)


def test_without_a_change_the_shares_are_those_of_the_steps() -> None:
    assert [schedule().share_done(step) for step in range(101)] == [step / 100 for step in range(101)]
    assert [schedule().share_done(step, end=1) for step in range(100)] == [step / 99 for step in range(100)]


def test_mosaic_is_closed_by_the_length_that_the_run_has_now() -> None:
    plan = schedule((4, 8), epochs=20, close_mosaic=0.25)
    assert plan.settings.mosaic_epochs == 6
    assert plan.closing_share == plan.share_done(60) == pytest.approx(4 / 20 + 16 / 20 * 2 / 4)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time_budget, "monotonic", lambda: self.now)


def lengths(clock: Clock, seconds: list[float], *, hours: float, epochs: int) -> list[int]:
    """Epochs of the run as decided after each of its epochs, which take `seconds`."""
    budget, progress, found = TimeBudget(hours), Progress(), []
    for took in seconds:
        budget.begin_epoch(progress)
        clock.now += took
        progress.epoch += 1
        epochs = budget.length_after(progress, epochs)
        found.append(epochs)
    return found


def test_a_slower_run_is_shortened_and_a_faster_one_lengthened_while_it_is_young(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert lengths(Clock(monkeypatch), [10] * 4, hours=100 / 3600, epochs=9) == [9] * 4, "all goes as planned"
    assert lengths(Clock(monkeypatch), [20] * 3, hours=100 / 3600, epochs=9) == [4, 4, 4]
    assert lengths(Clock(monkeypatch), [5] * 3, hours=100 / 3600, epochs=9) == [19, 19, 19]
    assert lengths(Clock(monkeypatch), [9.2] * 3, hours=1000 / 3600, epochs=96) == [96] * 3, "not worth a change"
    late = lengths(Clock(monkeypatch), [10, 10, 10, 10, 10, 1, 1, 1], hours=100 / 3600, epochs=9)
    assert late == [9] * 8, "the learning rate has fallen too far"
    odd = lengths(Clock(monkeypatch), [10, 10, 15, 10, 10], hours=105 / 3600, epochs=9)
    assert odd == [9] * 5, "one slow epoch is no trend"


def test_a_run_that_is_late_still_has_an_epoch_to_come_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lengths(Clock(monkeypatch), [10, 200], hours=100 / 3600, epochs=9) == [9, 3]


def test_without_a_budget_nothing_is_written_down() -> None:
    budget, progress = TimeBudget(), Progress(epoch=1)
    budget.begin_epoch(progress)
    budget.note(progress)
    assert budget.length_after(progress, 7) == 7
    assert progress == Progress(epoch=1)
