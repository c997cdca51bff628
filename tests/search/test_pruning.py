"""When a trial is not worth its remaining epochs."""

from __future__ import annotations

import math

import pytest

from onelook.search.pruning import FitnessByEpoch, TrialsSoFar, is_hopeless, log_fitness, log_outlook


def rising(*fitness: float) -> FitnessByEpoch:
    """A course that is validated in every epoch."""
    return dict(enumerate(fitness, start=1))


# Ten epochs. In the first group, all rise alike; in the second, the fifth epoch tells nothing.
ALIKE = [rising(*(height * epoch / 10 for epoch in range(1, 11))) for height in (0.4, 0.38, 0.42, 0.3, 0.2)]
UNLIKE = [rising(*[early] * 5, *[late] * 5) for early, late in ((0.01, 0.4), (0.2, 0.38), (0.03, 0.42), (0.1, 0.3))]


def past(complete: list[FitnessByEpoch], *, spent: int = 60, best: float = 0.42) -> TrialsSoFar:
    return TrialsSoFar(complete, best, spent, epochs=10)


@pytest.mark.parametrize(
    ("early", "group", "is_it"),
    [
        (0.15, ALIKE, True),  # where the best had 0.21
        (0.205, ALIKE, False),
        (0.15, UNLIKE, False),
        (0.0, UNLIKE, True),
    ],
)
def test_what_an_early_fitness_tells_is_learned_from_complete_trials(
    early: float, group: list[FitnessByEpoch], is_it: bool
) -> None:
    assert is_hopeless(rising(*[early] * 5), past(group)) == is_it


def test_best_epoch_counts_not_the_last() -> None:
    assert not is_hopeless(rising(0.0, 0.0, 0.0, 0.21, 0.0), past(ALIKE))


@pytest.mark.parametrize(
    ("course", "given"),
    [
        (rising(0.0), past(ALIKE)),  # a tenth of the run is warm-up
        (rising(*[0.0] * 10), past(ALIKE)),
        (rising(*[0.0] * 5), past([])),
        (rising(*[0.0] * 5), past([{10: 0.4}])),  # validated at its end only
    ],
)
def test_no_trial_is_hopeless_in_its_warm_up_at_its_end_or_alone(course: FitnessByEpoch, given: TrialsSoFar) -> None:
    assert not is_hopeless(course, given)


def test_the_longer_a_search_lasts_the_more_patient_it_is() -> None:
    """A new trial is seldom the best of very many."""
    course = rising(*[0.18] * 5)
    assert [is_hopeless(course, past(ALIKE, spent=spent)) for spent in (10, 10_000)] == [True, False]


def test_outlook_is_what_the_others_rose_by() -> None:
    mean, spread = log_outlook(rising(*[0.1] * 5), ALIKE, 10) or (0.0, 0.0)
    assert math.exp(mean) == pytest.approx(0.2, rel=0.02)
    assert 0.05 < spread < 0.2
    assert (log_outlook(rising(*[0.1] * 5), UNLIKE, 10) or (0, 0))[1] > 1
    assert log_outlook(rising(*[0.1] * 5), [{}], 10) is None
    assert log_fitness(0) == math.log(0.001)
