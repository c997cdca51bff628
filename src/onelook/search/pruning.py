"""Whether a trial is worth its remaining epochs, judged by how complete trials rose from the same epoch.

How well an early fitness predicts the final one differs from task to task: hardly at all where the learning rate has
to fall first, almost surely where curves run in parallel. Checks at fixed epochs come too early for the former and too
late for the latter; so the spread of the rises of complete trials decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from onelook.training.schedule import MAX_WARMUP_FRACTION

# Fitness by number of epochs done, from 1; an epoch without a validation is not in it.
FitnessByEpoch = Mapping[int, float]

# Prior of the spread of logarithmic fitness: this at the first epoch, its square falling to 0 at the last; and as how
# many trials the prior counts.
SPREAD_BEFORE = 0.3
WEIGHT_BEFORE = 2
# Added to fitness before its logarithm is taken, so that 0 and almost 0 are about the same.
TINY = 0.001


@dataclass(frozen=True)
class TrialsSoFar:
    """The trials at the time when one is judged.

    Attributes:
        complete: fitness by epoch of each complete trial.
        best: highest fitness of all trials, those of other searches included.
        spent: epochs trained in all trials, the judged one included.
        epochs: epochs of a complete trial.
    """

    complete: Sequence[FitnessByEpoch]
    best: float
    spent: int
    epochs: int


def is_hopeless(course: FitnessByEpoch, past: TrialsSoFar) -> bool:
    """Whether a new trial promises more per epoch than the rest of this one does.

    After n trials, the next one is the best with a probability of about 1 / n and costs `spent` / n epochs: 1 / `spent`
    per epoch. This one becomes the best with the probability that it rises enough in its remaining epochs. No trial is
    hopeless in the warm-up, after its last epoch, or without a complete one to compare with.

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
    """Mean and standard deviation of the logarithmic fitness at which a trial is expected to end.

    Args:
        course: fitness of the trial so far; not empty, and before its last epoch.

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
    """Logarithmic fitness, in which trials are compared."""
    return math.log(fitness + TINY)


def _highest(course: FitnessByEpoch, epoch: int) -> float:
    """The best logarithmic fitness up to an epoch."""
    return log_fitness(max(value for number, value in course.items() if number <= epoch))
