"""What Optuna's search tries next: of many mutations of the best trials, the one that a model of all trials favours.

Needs the extra `tune`; import this module only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from onelook.search.genes import GENES, Individual, in_range, place_of, value_at
from onelook.search.mutation import generator
from onelook.search.pruning import log_fitness, log_outlook
from onelook.search.search import Plan
from onelook.search.surrogate import Surrogate, SurrogateData

# Trials after the first ones that the model has no say in.
NUM_BLIND = 3
NUM_CANDIDATES = 300
NUM_PARENTS = 3
# A mutation moves between these shares of all hyperparameters, by steps of a standard deviation between these shares
# of their ranges: some look close by and some far.
LEAST_MOVED, MOST_MOVED = 0.1, 0.6
LEAST_STEP, LARGEST_STEP = 0.03, 0.25
# Fitting takes time in proportion to the cube of this; a second.
MOST_EVIDENCE = 300
# Names of attributes of trials: which of the trials of this search it is, or of which other search it comes.
SLOT, FOREIGN = "slot", "foreign"


class KeyedSampler(BaseSampler):
    """Keyed by seed and slot: has no state that could be lost.

    The first trials are those of the plan, the next three are mutations of the best so far. From then on a Gaussian
    process chooses among 300 mutations the one of the largest expected improvement (Jones, Schonlau and Welch,
    "Efficient global optimization of expensive black-box functions", 1998). Their parents are the trials that are best
    without their luck, which the process has an estimate of. Choosing among mutations keeps to where the model has seen
    trials; far from them it knows nothing about two dozen hyperparameters.

    Args:
        plan: of the search.

    Attributes:
        space: all that is searched.
        slot: of the trial that was sampled last.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.slot = -1
        self.space: dict[str, BaseDistribution] = {
            name: FloatDistribution(GENES[name].low, GENES[name].high, log=GENES[name].log)
            for name in plan.firsts[0]
            if GENES[name].gain
        }

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All that is searched."""
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values of all that is searched."""
        trials = study.get_trials(deepcopy=False)
        self.slot = free_slot(trials, trial.number)
        firsts = self._plan.firsts
        if self.slot < len(firsts):
            return self._searched(firsts[self.slot])
        rng = generator(self._plan.seed, self.slot)
        if self.slot < len(firsts) + NUM_BLIND:
            return self._searched(self._mutations([self._best(trials)], trials, rng)[0])
        return self._searched(self._favourite(trials, rng))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value in the starting point: nothing is searched that `sample_relative` does not give."""
        return self._plan.firsts[0][param_name]

    def _favourite(self, trials: Sequence[FrozenTrial], rng: np.random.Generator) -> Individual:
        """The mutation that a model of all trials hopes most of."""
        judged = self._judged(trials)
        best = self._best(trials)
        if not judged:
            return self._mutations([best], trials, rng)[0]
        places = np.array([self._place(trial.params) for trial, _, _ in judged])
        worths, spreads = np.array([(worth, spread) for _, worth, spread in judged]).T
        model = Surrogate(SurrogateData(places, worths, spreads**2))
        leaders = np.argsort(-model.trials, kind="stable")[:NUM_PARENTS]
        parents = [self._individual(judged[number][0].params) for number in leaders.tolist()]
        children = self._mutations([*parents, best], trials, rng)
        gains = model.expected_gains(np.array([self._place(child) for child in children]))
        return children[int(gains.argmax())]

    def _judged(self, trials: Sequence[FrozenTrial]) -> list[tuple[FrozenTrial, float, float]]:
        """Trials with their logarithmic fitness and the spread of that: where pruned ones would have ended.

        Of very many trials, the best ones.
        """
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        courses = [trial.intermediate_values for trial in complete]
        judged = [(trial, log_fitness(trial.value), 0.0) for trial in complete if trial.value is not None]
        for trial in trials:
            if trial.state == TrialState.PRUNED and trial.intermediate_values:
                outlook = log_outlook(trial.intermediate_values, courses, self._plan.epochs)
                if outlook is not None:
                    judged.append((trial, *outlook))
        return sorted(judged, key=lambda entry: -entry[1])[:MOST_EVIDENCE]

    def _mutations(
        self, parents: Sequence[Individual], trials: Sequence[FrozenTrial], rng: np.random.Generator
    ) -> list[Individual]:
        """Mutations that no trial has tried; at least one."""
        names = list(self.space)
        done = [trial for trial in trials if trial.state != TrialState.FAIL]  # what is left of an interruption
        tried = {tuple(trial.params.get(name) for name in names) for trial in done}
        places = [self._place(parent) for parent in parents]
        children: list[Individual] = []
        while not children:
            for _ in range(NUM_CANDIDATES):
                number = int(rng.integers(len(parents)))
                step = LEAST_STEP * (LARGEST_STEP / LEAST_STEP) ** rng.random()
                moved = rng.random(len(names)) < rng.uniform(LEAST_MOVED, MOST_MOVED)
                moved[rng.integers(len(names))] = True
                place = places[number] + step * rng.standard_normal(len(names))
                values = {name: value_at(name, place[index]) for index, name in enumerate(names) if moved[index]}
                child = in_range({**parents[number], **values})
                if tuple(child[name] for name in names) not in tried:
                    children.append(child)
        return children

    def _place(self, genes: Mapping[str, float]) -> np.ndarray[Any, Any]:
        """(D,) where what is searched lies in its ranges."""
        return np.array([place_of(name, genes[name]) for name in self.space])

    def _best(self, trials: Sequence[FrozenTrial]) -> Individual:
        """The hyperparameters of the best complete trial; of equal ones the earlier; the starting point if none is."""
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
        best = max(complete, key=lambda trial: (trial.value, -trial.number), default=None)
        return self._plan.firsts[0] if best is None else self._individual(best.params)

    def _individual(self, params: Mapping[str, float]) -> Individual:
        """What is searched, and the rest as it was in the beginning."""
        return in_range({**self._plan.firsts[0], **params})

    def _searched(self, genes: Mapping[str, float]) -> dict[str, float]:
        return {name: genes[name] for name in self.space}


def is_ours(trial: FrozenTrial) -> bool:
    """Whether a trial counts: it has been done or is under way, in this search and in no other."""
    return trial.state != TrialState.FAIL and FOREIGN not in trial.user_attrs


def free_slot(trials: list[FrozenTrial], number: int) -> int:
    """The slot for trial `number`, whose process has not written it down yet; nor, maybe, have others theirs.

    >>> free_slot([], 0)
    0
    """
    others = [trial for trial in trials if is_ours(trial) and trial.number != number]
    taken = {trial.user_attrs[SLOT] for trial in others if SLOT in trial.user_attrs}
    slot = 0
    for before_us in [trial for trial in others if SLOT not in trial.user_attrs and trial.number < number] + [None]:
        while slot in taken:
            slot += 1
        if before_us is not None:
            taken.add(slot)
    return slot
