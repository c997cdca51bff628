"""The search by Optuna: unpromising trials end early, and several processes may share one storage.

Needs the extra `tune`; import this module only when it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.pruners import NopPruner
from optuna.trial import FrozenTrial, TrialState

from onelook.errors import SettingsError
from onelook.runs.process_identity import is_alive, process_identity
from onelook.search.folder import SearchFolder
from onelook.search.history import Row, merged
from onelook.search.plan import Plan
from onelook.search.pruning import TrialsSoFar, is_hopeless
from onelook.search.sampler import FOREIGN, SLOT, KeyedSampler, is_ours
from onelook.search.search import Objective, Trial, TrialScore, row_of

SEARCH, SCORE, GENE_VALUES, OWNER = "search", "worth", "genes", "owner"


class OptunaSearch:
    """Runs a study of Optuna trial by trial.

    Every trial that counts has a slot, from 0; what it tries is a function of the seed, the slot and the trials before,
    so a search by one process that was interrupted resumes as if it had not been.

    Args:
        storage: holds the study; shared by all processes that search together.
        folder: folder of the search, to see which trials of other machines still run.
        identity: what all searches in this study must have in common; plain JSON.

    Raises:
        SettingsError: the stored study has another identity.
    """

    def __init__(
        self,
        plan: Plan,
        storage: optuna.storages.BaseStorage,
        *,
        name: str,
        folder: SearchFolder,
        identity: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._sampler = KeyedSampler(plan)
        self._study = optuna.create_study(
            storage=storage,
            sampler=self._sampler,
            pruner=NopPruner(),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
        )
        self._others: list[Row] = []
        self._agree(identity)
        self._free_abandoned_slots()

    def rows(self) -> list[Row]:
        """All trials that are done, by any process, and those of other searches."""
        own = [
            row_of(_score_of(trial), self._plan, trial.user_attrs[SLOT], trial.user_attrs[GENE_VALUES])
            for trial in self._study.get_trials(deepcopy=False)
            if is_ours(trial) and trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        ]
        return merged(own, self._others)

    def learn(self, others: Sequence[Row]) -> None:
        """Add the trials of other searches to the study; rows with our seed are its own."""
        self._others = [row for row in merged(others, self._others) if row.seed != self._plan.seed]
        known = {trial.user_attrs.get(FOREIGN) for trial in self._study.get_trials(deepcopy=False)}
        for row in self._others:
            key = f"{row.seed}/{row.generation}"
            if key not in known and row.state == "complete":
                self._study.add_trial(
                    optuna.trial.create_trial(
                        params={name: row.genes[name] for name in self._sampler.space},
                        distributions=self._sampler.space,
                        value=row.fitness,
                        user_attrs={FOREIGN: key},
                    )
                )

    def step(self, objective: Objective) -> Row | None:
        """Run another trial; None if all slots are taken, also by running trials of other processes."""
        trials = self._study.get_trials(deepcopy=False)
        if sum(map(is_ours, trials)) >= self._plan.trials:
            return None
        trial = self._study.ask(self._sampler.space)
        slot = self._sampler.slot
        try:
            if slot >= self._plan.trials:  # another process was faster
                self._study.tell(trial, state=TrialState.FAIL)
                return None
            genes = self._plan.individual(trial.params)
            for name, value in ((OWNER, process_identity()), (GENE_VALUES, genes), (SLOT, slot)):
                trial.set_user_attr(name, value)
            score = objective(Trial(slot, genes, lambda epoch, fitness: self._is_hopeless(trial, epoch, fitness)))
            trial.set_user_attr(SCORE, _document(score))
        except BaseException:
            self._study.tell(trial, state=TrialState.FAIL)  # the slot is free again
            raise
        if score.state == "pruned":
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, score.fitness)
        return row_of(score, self._plan, slot, genes)

    def _is_hopeless(self, trial: optuna.Trial, epoch: int, fitness: float) -> bool:
        trial.report(fitness, epoch + 1)
        trials = self._study.get_trials(deepcopy=False)
        complete = [other for other in trials if other.state == TrialState.COMPLETE]
        past = TrialsSoFar(
            complete=[other.intermediate_values for other in complete if other.intermediate_values],
            best=max((other.value for other in complete if other.value is not None), default=0.0),
            spent=sum(max(other.intermediate_values, default=0) for other in trials if is_ours(other)),
            epochs=self._plan.epochs,
        )
        return is_hopeless(trials[trial.number].intermediate_values, past)

    def _agree(self, identity: Mapping[str, Any]) -> None:
        stored = self._study.user_attrs.get(SEARCH)
        if stored is None:
            self._study.set_user_attr(SEARCH, dict(identity))
            return
        differing = sorted(key for key in {*stored, *identity} if stored.get(key) != identity.get(key))
        if differing:
            key = differing[0]
            raise SettingsError(
                f"study `{self._study.study_name}` searches with `{key}` {stored.get(key)!r}, not {identity.get(key)!r}"
                f"{f', and {len(differing) - 1} more differ' if len(differing) > 1 else ''}",
                hint="give the same settings, or the search another `--name` or `--evolve-storage`",
            )

    def _free_abandoned_slots(self) -> None:
        """Free the slots of trials whose process is known to be dead."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            owner = trial.user_attrs.get(OWNER)
            if owner is not None and self._is_dead(owner, trial.user_attrs.get(SLOT)):
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _is_dead(self, owner: Mapping[str, Any], slot: Any) -> bool:
        """A process of another machine, or container, is dead if it began a run folder here and no longer locks it."""
        known = is_alive(owner)
        if known is not None or not isinstance(slot, int):
            return known is False
        run = self._folder.trial(slot)
        return run.record.state != "" and not run.is_in_use


def _document(score: TrialScore) -> dict[str, Any]:
    """`score` as JSON, with null for numbers that are not finite."""
    results = [value if math.isfinite(value) else None for value in score.results]
    return {**vars(score), "results": results}


def _score_of(trial: FrozenTrial) -> TrialScore:
    document = trial.user_attrs[SCORE]
    results = tuple(math.nan if value is None else value for value in document["results"])
    return TrialScore(**{**document, "results": results})
