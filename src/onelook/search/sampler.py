"""What Optuna's search tries next: its tree-structured Parzen estimator, keyed by seed and slot.

Needs the extra `tune`; import this module only when it is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from onelook.search.genes import GENES, Individual, in_range
from onelook.search.mutation import generator, mutate
from onelook.search.plan import Plan

# Trials after the first ones that the estimator has no say in.
NUM_BLIND = 3
# Names of attributes of trials: which of the trials of this search it is, or of which other search it comes.
SLOT, FOREIGN = "slot", "foreign"


class KeyedSampler(BaseSampler):
    """Keyed by seed and slot: has no state that could be lost.

    The first trials are those of the plan, the next three are mutations of the best so far, then Optuna's multivariate
    estimator proposes (Bergstra et al., "Algorithms for hyper-parameter optimization", 2011).

    Attributes:
        space: all that is searched.
        slot: slot of the trial that was sampled last.
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
            return self._searched(mutate(self._best(trials), rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna 4 calls these arguments so
            estimator = TPESampler(
                seed=int(rng.integers(1 << 32)), multivariate=True, constant_liar=True, n_startup_trials=1
            )
        return self._searched(in_range(estimator.sample_relative(study, trial, self.space)))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value in the starting point: nothing is searched that `sample_relative` does not give."""
        return self._plan.firsts[0][param_name]

    def _best(self, trials: Sequence[FrozenTrial]) -> Individual:
        """The hyperparameters of the best complete trial; of equal ones the earlier; the starting point if none is."""
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
        best = max(complete, key=lambda trial: (trial.value, -trial.number), default=None)
        return self._plan.firsts[0] if best is None else self._plan.individual(best.params)

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
