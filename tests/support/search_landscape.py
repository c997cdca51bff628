"""A search without training: curves that rise the higher, the nearer the hyperparameters are to a peak."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from onelook.search.genes import GENES, Individual, in_range
from onelook.search.plan import Plan
from onelook.search.search import Trial, TrialScore

START: Individual = in_range({"lr0": 0.01, "momentum": 0.937, "cls": 0.5, "hsv_s": 0.7, "degrees": 0.0, "fliplr": 0.5})
PEAK: Individual = in_range({"lr0": 0.004, "momentum": 0.88, "cls": 1.1, "hsv_s": 0.4, "degrees": 4.0, "fliplr": 0.5})


def plan(trials: int, *, seed: int = 0, epochs: int = 16, others: tuple[Individual, ...] = ()) -> Plan:
    """A search from `START`."""
    return Plan(trials, seed, epochs, (START, *others))


def place(name: str, value: float) -> float:
    """Where a value lies in its range, 0 to 1."""
    gene = GENES[name]
    if gene.log:
        return math.log(value / gene.low) / math.log(gene.high / gene.low)
    return (value - gene.low) / (gene.high - gene.low)


@dataclass
class Hill:
    """An objective, which counts the epochs that it was asked for and can be told to fail.

    Attributes:
        epochs: of a trial that runs to its end.
        seen: what was tried.
        interrupted_at: the call, from 0, that is interrupted; -1 for none.
    """

    epochs: int = 16
    seen: list[Trial] = field(default_factory=list)
    interrupted_at: int = -1

    def __call__(self, trial: Trial) -> TrialScore:
        self.seen.append(trial)
        if len(self.seen) - 1 == self.interrupted_at:
            raise KeyboardInterrupt
        for epoch in range(self.epochs):
            fitness = height(trial.genes) * (1 - math.exp(-3 * (epoch + 1) / self.epochs))
            results = (0.5, 0.5, fitness, fitness, 0.1, 0.2, math.nan)
            if trial.is_hopeless(epoch, fitness):
                return TrialScore(fitness, results, epoch + 1, "pruned")
        return TrialScore(fitness, results, self.epochs, "complete")


def height(genes: Individual) -> float:
    """1 at the peak, less elsewhere."""
    return math.exp(-4 * sum((place(name, genes[name]) - place(name, PEAK[name])) ** 2 for name in PEAK))
