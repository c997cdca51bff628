"""The image of a search: whole for any number of trials and hyperparameters."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from plots_examples import assert_chart

from onelook.reports.plots.search import plot_evolution
from onelook.search.genes import GENES, Individual, in_range
from onelook.search.history import Row, State
from onelook.search.mutation import generator, mutate
from onelook.settings.hyperparameters import Hyperparameters

START = in_range(Hyperparameters(anchors=3).model_dump())
FEW = {name: START[name] for name in ("lr0", "box", "cls", "scale")}
"""A panel for each takes a tenth of a second."""


@pytest.fixture(autouse=True)
def no_warnings() -> object:
    """Matplotlib warns where a layout does not fit: here, that fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def row(number: int, state: State = "complete", start: Individual = FEW) -> Row:
    genes = start if number == 0 else mutate(start, generator(0, number))
    fitness = 0.0 if state == "failed" else 0.3 + 0.01 * (number % 7)
    return Row(number, 0, genes, (0.1,) * 7, fitness, 8, state)


@pytest.mark.slow  # the figure itself is drawn below
@pytest.mark.parametrize("num_trials", [12, 60])
def test_every_hyperparameter_that_moves_has_its_panel(tmp_path: Path, num_trials: int) -> None:
    rows = [row(number, ("complete", "pruned", "complete")[number % 3], START) for number in range(num_trials)]
    assert_chart(plot_evolution(rows, tmp_path / "evolve.png"))


def test_best_and_pruned_trials_look_different(tmp_path: Path) -> None:
    """The second trial is the best in all but the last image."""
    states: list[tuple[State, State]] = [("complete", "complete"), ("pruned", "complete"), ("complete", "pruned")]
    whole, pruned, best = (
        assert_chart(plot_evolution([row(0, first), row(1, second)], tmp_path / f"{number}.png"))
        for number, (first, second) in enumerate(states)
    )
    assert whole.shape == pruned.shape == best.shape
    assert (whole != pruned).any() and (whole != best).any() and (pruned != best).any()


@pytest.mark.parametrize(
    "rows",
    [pytest.param([row(0)], marks=pytest.mark.slow), [row(0, "failed"), row(1, "failed")]],
    ids=["one", "failed"],
)
def test_search_with_little_to_show_has_an_image_too(tmp_path: Path, rows: list[Row]) -> None:
    assert_chart(plot_evolution(rows, tmp_path / "evolve.png"))


def test_there_is_room_for_all_genes() -> None:
    assert len(GENES) <= 30
