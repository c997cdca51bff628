"""The sampler of Optuna's search: its tree-structured Parzen estimator, keyed by seed and slot.

Needs the extra `tune`; import this module only when it is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from onelook.search.genes import GENES, Individual, in_range
from onelook.search.mutation import generator, mutate
from onelook.search.plan import Plan

# Trials after the first ones that are mutations, without the estimator.
NUM_BLIND = 3
# Attributes of Optuna's trials: the slot in this search, or the key of a trial of another search.
SLOT, FOREIGN = "slot", "foreign"


class KeyedSampler(BaseSampler):
    """Samples by seed and slot, without state that could be lost.

    The first trials are those of the plan, the next three are mutations of the best so far; then Optuna's multivariate
    estimator proposes (Bergstra et al., "Algorithms for hyper-parameter optimization", 2011).

    Attributes:
        slot: slot of the last sampled trial.
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
        """The distributions of all searched hyperparameters."""
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values of all searched hyperparameters."""
        trials = study.get_trials(deepcopy=False)
        self.slot = free_slot(trials, trial.number)
        firsts = self._plan.firsts
        if self.slot < len(firsts):
            return self._searched(firsts[self.slot])
        rng = generator(self._plan.seed, self.slot)
        if self.slot < len(firsts) + NUM_BLIND:
            return self._searched(mutate(self._best(trials), rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # for these arguments, in Optuna 4
            estimator = TPESampler(
                seed=int(rng.integers(1 << 32)), multivariate=True, constant_liar=True, n_startup_trials=1
            )
        return self._searched(in_range(estimator.sample_relative(study, trial, self.space)))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value in the starting point; never needed, since `sample_relative` gives all."""
        return self._plan.firsts[0][param_name]

    def _best(self, trials: Sequence[FrozenTrial]) -> Individual:
        """The hyperparameters of the best complete trial, among ties the earlier; the starting point without any."""
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
        best = max(complete, key=lambda trial: (trial.value, -trial.number), default=None)
        return self._plan.firsts[0] if best is None else self._plan.individual(best.params)

    def _searched(self, genes: Mapping[str, float]) -> dict[str, float]:
        return {name: genes[name] for name in self.space}


def is_ours(trial: FrozenTrial) -> bool:
    """Whether a trial of this search is done or running."""
    return trial.state != TrialState.FAIL and FOREIGN not in trial.user_attrs


def free_slot(trials: list[FrozenTrial], number: int) -> int:
    """The slot for trial `number`; trials before it that have not stored theirs yet take the first free ones.

    >>> free_slot([], 0)
    0
    """
    others = [trial for trial in trials if is_ours(trial) and trial.number != number]
    taken = {trial.user_attrs[SLOT] for trial in others if SLOT in trial.user_attrs}
    num_before = sum(SLOT not in trial.user_attrs and trial.number < number for trial in others)
    free = (slot for slot in count() if slot not in taken)
    return next(islice(free, num_before, None))
