"""What Optuna's search tries next: mutations of the best trial, with some values that a model proposes in their place.

A model that has seen a few dozen trials proposes nothing good for two dozen hyper-parameters at once. So it may decide
on some of them only; the others stay near the best trial, which in the beginning is what the user started from.

Needs the extra `tune`; import this module only when it is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from onelook.engine.evolution.genes import GENES, Individual, in_range
from onelook.engine.evolution.mutation import generator, mutate
from onelook.engine.evolution.search import Plan

NUM_MUTATIONS = 5
MIXED_SHARE = 0.3
NUM_RANDOM = 5
# Names of attributes of trials: which of the trials of this search it is, or of which other search it comes.
SLOT, FOREIGN = "slot", "foreign"


class KeyedSampler(BaseSampler):
    """Keyed by seed and slot: has no state that could be lost.

    The first trials are those of the plan, all others are mutations of the best so far; and from the sixth mutation on,
    30 % of their hyper-parameters are replaced by what a tree-structured Parzen estimator proposes (Bergstra et al.,
    "Algorithms for hyper-parameter optimization", 2011), in Optuna's multivariate form.

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
        child = mutate(self._best(trials), rng)
        if self.slot >= len(firsts) + NUM_MUTATIONS:
            child |= self._some_proposals(study, trial, rng)
        return self._searched(child)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value in the starting point: nothing is searched that `sample_relative` does not give."""
        return self._plan.firsts[0][param_name]

    def _some_proposals(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Individual:
        """What a model of all trials proposes for some hyper-parameters, at least one."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            model = TPESampler(
                seed=int(rng.integers(2**32)), n_startup_trials=NUM_RANDOM, multivariate=True, constant_liar=True
            )
        proposed = model.sample_relative(study, trial, self.space) or {
            name: model.sample_independent(study, trial, name, distribution)
            for name, distribution in self.space.items()
        }
        names = list(self.space)
        replaced = rng.random(len(names)) < MIXED_SHARE
        replaced[rng.integers(len(names))] = True
        return {name: proposed[name] for name, is_replaced in zip(names, replaced.tolist(), strict=True) if is_replaced}

    def _best(self, trials: list[FrozenTrial]) -> Individual:
        """The hyper-parameters of the best complete trial; of equal ones the earlier; the starting point if none is."""
        start = self._plan.firsts[0]
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
        best = max(complete, key=lambda trial: (trial.value, -trial.number), default=None)
        return start if best is None else in_range({**start, **best.params})

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
