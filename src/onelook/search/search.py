"""The protocol of a search, and the genetic search, which can resume after any trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from onelook.search.genes import Individual
from onelook.search.history import NO_RESULTS, Row, State, merged, ranked
from onelook.search.mutation import choose_parent, generator, mutate
from onelook.search.plan import Plan


@dataclass(frozen=True)
class Trial:
    """Hyperparameters to try.

    Attributes:
        number: from 0, unique in the search.
        is_hopeless: called with epoch (from 0) and fitness after every validation; True ends the trial.
    """

    number: int
    genes: Individual
    is_hopeless: Callable[[int, float], bool]


@dataclass(frozen=True)
class TrialScore:
    """The result of a trial; see `Row`."""

    fitness: float = 0.0
    results: tuple[float, ...] = NO_RESULTS
    epochs: int = 0
    state: State = "failed"
    note: str = ""


Objective = Callable[[Trial], TrialScore]


class Search(Protocol):
    """A search that goes trial by trial."""

    def rows(self) -> list[Row]:
        """All trials that are done, those of other searches included."""

    def learn(self, others: Sequence[Row]) -> None:
        """Take the trials of other searches into account."""

    def step(self, objective: Objective) -> Row | None:
        """Run another trial; None if there are enough. After an error of `objective`, its trial can be tried again."""


class GeneticSearch:
    """Tries children of the best trials so far, one after the other.

    Generation g is a function of the seed, g and the rows before it, so a search that was interrupted resumes as if it
    had not been.
    """

    def __init__(self, plan: Plan, rows: Sequence[Row] = ()) -> None:
        self._plan = plan
        self._rows = merged(rows, ())

    def rows(self) -> list[Row]:
        """All trials that are done, by seed and generation."""
        return list(self._rows)

    def learn(self, others: Sequence[Row]) -> None:
        """Let trials of other searches be parents too; those with our seed count as our own."""
        self._rows = merged(self._rows, others)

    def step(self, objective: Objective) -> Row | None:
        """Try the first generation that is missing; None if there is none."""
        done = {row.generation for row in self._rows if row.seed == self._plan.seed}
        generation = next((number for number in range(self._plan.trials) if number not in done), None)
        if generation is None:
            return None
        genes = self._individual(generation)
        row = row_of(objective(Trial(generation, genes, lambda epoch, fitness: False)), self._plan, generation, genes)
        self._rows = merged(self._rows, [row])
        return row

    def _individual(self, generation: int) -> Individual:
        if generation < len(self._plan.firsts):
            return self._plan.firsts[generation]
        rng = generator(self._plan.seed, generation)
        parent = choose_parent(self._rows, rng) if ranked(self._rows) else self._plan.firsts[0]
        return mutate(parent, rng)


def row_of(score: TrialScore, plan: Plan, number: int, genes: Individual) -> Row:
    """The row of a trial of our own."""
    return Row(number, plan.seed, genes, score.results, score.fitness, score.epochs, score.state, score.note)
