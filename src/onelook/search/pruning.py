"""Whether a trial is worth its remaining epochs, judged by how complete trials developed from the same epoch.

How far an early fitness tells where a trial ends differs from task to task: hardly at all where the learning rate has
to fall first, almost surely where curves run side by side. Checks at fixed epochs come too early for the ones and too
late for the others; so what decides is how unlike each other complete trials rose from there on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from onelook.training.schedule import MAX_WARMUP_FRACTION

# Fitness by number of epochs done, from 1; an epoch without a validation is not in it.
FitnessByEpoch = Mapping[int, float]

# What is believed of the spread of the logarithm of fitness before trials have shown theirs: this at the first epoch,
# its square falling to 0 at the last; and as how many trials the belief counts.
SPREAD_BEFORE = 0.3
WEIGHT_BEFORE = 2
# Added to fitness before its logarithm is taken, so that next to nothing and nothing are about the same.
TINY = 0.001


@dataclass(frozen=True)
class TrialsSoFar:
    """What is known when a trial is judged.

    Attributes:
        complete: the courses of complete trials.
        best: highest fitness of all trials, those of other searches included.
        spent: epochs that all trials have trained, those of the trial that is judged included.
        epochs: epochs of a complete trial.
    """

    complete: Sequence[FitnessByEpoch]
    best: float
    spent: int
    epochs: int


def is_hopeless(course: FitnessByEpoch, past: TrialsSoFar) -> bool:
    """Whether a new trial promises more per epoch than the rest of this one does.

    Among n trials the next one is the best with a probability of about 1 / n, for as many epochs as a trial has cost in
    the mean: 1 / `spent` per epoch. This one is the best with the probability that it rises enough in the epochs that
    are left. No trial is hopeless in the warm-up, after its last epoch, or with no complete one to compare it with.

    >>> past = TrialsSoFar([{5: 0.2, 10: 0.4}, {5: 0.1, 10: 0.2}], best=0.4, spent=25, epochs=10)
    >>> is_hopeless({5: 0.1}, past), is_hopeless({5: 0.19}, past)
    (True, False)
    """
    epoch = max(course)
    if epoch <= past.epochs * MAX_WARMUP_FRACTION or epoch >= past.epochs:
        return False
    outlook = log_outlook(course, past.complete, past.epochs)
    if outlook is None:
        return False
    mean, spread = outlook
    return NormalDist(mean, spread).cdf(log_fitness(past.best)) > 1 - (past.epochs - epoch) / past.spent


def log_outlook(course: FitnessByEpoch, complete: Sequence[FitnessByEpoch], epochs: int) -> tuple[float, float] | None:
    """Where a trial would end that has come so far: mean and standard deviation of its logarithmic fitness.

    Args:
        course: fitness of the trial so far; not empty, and not at its end.

    Returns:
        None if no complete trial was validated as early.
    """
    epoch = max(course)
    rises = [
        _highest(other, epochs) - _highest(other, epoch) for other in complete if min(other, default=epochs) <= epoch
    ]
    if not rises:
        return None
    mean = fmean(rises)
    squares = sum((rise - mean) ** 2 for rise in rises) + WEIGHT_BEFORE * SPREAD_BEFORE**2 * (1 - epoch / epochs)
    variance = squares / (len(rises) - 1 + WEIGHT_BEFORE) * (1 + 1 / len(rises))
    return _highest(course, epoch) + mean, math.sqrt(variance)


def log_fitness(fitness: float) -> float:
    """The logarithm in which the rises of trials are compared."""
    return math.log(fitness + TINY)


def _highest(course: FitnessByEpoch, epoch: int) -> float:
    """The best logarithmic fitness up to an epoch."""
    return log_fitness(max(value for number, value in course.items() if number <= epoch))
