"""One trial of a search: a training like any other, but silent, with few checkpoints, and pruned when hopeless."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from onelook.errors import MemoryShortage, NumericsError, OnelookError, StopRequested
from onelook.recipes.train import train
from onelook.recipes.train_result import TrainResult
from onelook.recipes.training_series import free_training_memory, quiet
from onelook.search.folder import SearchFolder
from onelook.search.history import Row, ranked
from onelook.search.plan import PreparedSearch
from onelook.search.search import Trial, TrialScore
from onelook.structures.results import VAL_LOSSES
from onelook.training.callback import Callback, EpochEnd, FitStart, RunControl

PRUNED = "pruned"
# Failures that other hyperparameters may avoid.
EXPECTED = (NumericsError, MemoryShortage, MemoryError, ArithmeticError, torch.OutOfMemoryError)
# Settings of every trial, whatever the search was given.
SILENT: dict[str, Any] = {
    "noplots": True,
    "noreport": True,
    "nosave": True,
    "save_period": -1,
    "resume": False,
    "exist_ok": True,
    "hyp": "",
    "track": [],
    "upload_dataset": "none",
}


class TrainingTrial:
    """Trains with the hyperparameters of a trial; what a search calls for their score."""

    def __init__(self, prepared: PreparedSearch, *, callbacks: Sequence[Path] = ()) -> None:
        self._folder = prepared.folder
        self._fixed = prepared.training_settings() | SILENT
        self._typed = {"callbacks": list(callbacks)} if callbacks else {}
        self._begun = 0

    def __call__(self, trial: Trial) -> TrialScore:
        """Train.

        Raises:
            StopRequested: a signal came; nothing of the trial is left.
            OnelookError: the training cannot be done for a reason that other hyperparameters would not cure.
        """
        path = self._folder.trial(trial.number).path
        given = self._fixed | trial.genes | self._typed | {"project": path.parent, "name": path.name}
        reporter = _Reporter(trial)
        shutil.rmtree(path, ignore_errors=True)  # of a trial that was interrupted
        self._begun += 1
        try:
            with quiet(logging.WARNING if self._begun == 1 else logging.ERROR):
                return _score_of(train(given, callbacks=[reporter]))
        except StopRequested:
            shutil.rmtree(path, ignore_errors=True)
            raise
        except (*EXPECTED, RuntimeError) as problem:
            if self._begun == 1 and not isinstance(problem, EXPECTED):
                raise  # nothing works yet
            text = problem.message if isinstance(problem, OnelookError) else str(problem)
            return TrialScore(epochs=reporter.epochs, note=f"{type(problem).__name__}: {text}")
        finally:
            free_training_memory()


def drop_worse_weights(folder: SearchFolder, rows: Sequence[Row], seed: int) -> Path | None:
    """Delete the checkpoints of all trials that are done but the best; the weights of the best, if they are here."""
    own = [row for row in rows if row.seed == seed]
    best = next(iter(ranked(own)), None)
    for row in own:
        if row is not best:
            shutil.rmtree(folder.trial(row.generation).weights, ignore_errors=True)
    if best is None:
        return None
    weights = folder.trial(best.generation).best
    return weights if weights.is_file() else None


class _Reporter(Callback):
    """Reports the fitness of every epoch to the search, and ends the trial if it is hopeless."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._control: RunControl | None = None
        self.epochs = 0

    def on_fit_start(self, event: FitStart) -> None:
        self._control = event.control

    def on_epoch_end(self, event: EpochEnd) -> None:
        self.epochs = event.epoch + 1
        if event.metrics is None or self._control is None:
            return
        if self._trial.is_hopeless(event.epoch, event.metrics.fitness):
            self._control.stop_training(PRUNED)


def _score_of(result: TrainResult) -> TrialScore:
    metrics, outcome = result.metrics, result.outcome
    best: Mapping[str, float] = outcome.history[outcome.best_epoch] if outcome.best_epoch >= 0 else {}
    losses = (best.get(name, math.nan) for name in VAL_LOSSES)
    return TrialScore(
        fitness=metrics.fitness,
        results=(metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, *losses),
        epochs=outcome.epochs_done,
        state="pruned" if outcome.reason == PRUNED else "complete",
    )
