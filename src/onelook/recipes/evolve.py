"""The search of hyperparameters: trial after trial, each one a training, until there are enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.errors import RunFolderError, StopRequested
from onelook.files.atomic import write_text_atomic
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.search_preparation import prepare_search
from onelook.recipes.trial import TrainingTrial, drop_worse_weights
from onelook.reports.plots.search import plot_evolution
from onelook.runs.run_dir import RunDir
from onelook.search.best_hyp import best_hyp_text
from onelook.search.genes import Individual
from onelook.search.history import Row, ranked, read_history, write_history
from onelook.search.plan import PreparedSearch
from onelook.search.search import GeneticSearch, Search

# Called for every trial that is done, with all rows so far.
Observer = Callable[[Row, Sequence[Row]], None]


@dataclass(frozen=True)
class EvolveResult:
    """What a search gives.

    Attributes:
        best: the best complete trial, or None if none is complete.
        rows: all trials, those of other searches in the bucket included.
        trials: number of requested trials; other processes may still be working on some.
        run_folder: where everything is.
        hyp: file of the best hyperparameters, for `--hyp`.
        weights: checkpoint of the best trial, if it was trained in this folder.
        command: command that trains with `hyp`.
        start: the hyperparameters that the search set out from.
    """

    best: Row | None
    rows: tuple[Row, ...]
    trials: int
    run_folder: Path
    hyp: Path
    weights: Path | None
    command: str
    start: Individual


def evolve(given: Mapping[str, Any], *, file: Path | None = None, observer: Observer | None = None) -> EvolveResult:
    """Search hyperparameters, or resume a search.

    Args:
        observer: called after every trial of this process.

    Raises:
        OnelookError: a setting, the data or the model cannot be used.
        StopRequested: Ctrl-C or SIGTERM; the trial under way is lost, and the search can resume from there.
    """
    with StopSignal() as stop:
        prepared = prepare_search(given, file, stop)
        bucket = prepared.bucket
        with _claimed(prepared), _resume_hint(prepared):
            search = _search(prepared)
            objective = TrainingTrial(prepared, callbacks=given.get("callbacks", ()))
            while True:
                stop.check()
                if bucket is not None:
                    search.learn(bucket.pull())
                row = search.step(objective)
                if row is None:
                    break
                rows = search.rows()
                _write(prepared, rows)
                if bucket is not None:
                    bucket.push(rows)
                if observer is not None:
                    observer(row, rows)
            return _finish(prepared, search.rows())


def _search(prepared: PreparedSearch) -> Search:
    if prepared.settings.evolve_method == "optuna":
        from onelook.search.storage import open_storage
        from onelook.search.study import OptunaSearch

        storage = open_storage(prepared.storage)
        return OptunaSearch(
            prepared.plan, storage, name=prepared.settings.name, folder=prepared.folder, identity=prepared.identity()
        )
    path = prepared.folder.history
    rows = read_history(path.read_bytes(), str(path), defaults=prepared.start) if path.is_file() else []
    return GeneticSearch(prepared.plan, rows)


@contextmanager
def _claimed(prepared: PreparedSearch) -> Iterator[None]:
    """Keep a second genetic search out of the folder; Optuna's storage lets several work together."""
    if prepared.settings.evolve_method == "optuna":
        yield
        return
    with RunDir(prepared.folder.path).lock():
        yield


@contextmanager
def _resume_hint(prepared: PreparedSearch) -> Iterator[None]:
    try:
        yield
    except StopRequested as problem:
        hint = f"resume with: onelook evolve --resume-evolve {prepared.folder.path}"
        again = [name for name in ("evolve_storage", "bucket") if getattr(prepared.settings, name)]
        hint += "".join(f", and the same `--{name.replace('_', '-')}`" for name in again)
        raise StopRequested(problem.message, hint=hint) from problem


def _write(prepared: PreparedSearch, rows: Sequence[Row]) -> Path | None:
    """Write the trials and their best hyperparameters; weights of the best trial, if they are in this folder."""
    folder = prepared.folder
    write_text_atomic(folder.history, write_history(rows))
    if ranked(rows):
        write_text_atomic(folder.hyp, best_hyp_text(rows, prepared.fixed_hyperparameters, prepared.command()))
    return drop_worse_weights(folder, rows, prepared.plan.seed)


def _finish(prepared: PreparedSearch, rows: Sequence[Row]) -> EvolveResult:
    folder = prepared.folder
    if not rows:
        raise RunFolderError(
            f"search `{folder.path}` has no trial left to start and none has finished: other processes are running them"
        )
    weights = _write(prepared, rows)
    if not prepared.settings.noplots:
        plot_evolution(rows, folder.image)
    best = next(iter(ranked(rows)), None)
    return EvolveResult(
        best=best,
        rows=tuple(rows),
        trials=prepared.plan.trials,
        run_folder=folder.path,
        hyp=folder.hyp,
        weights=weights if best is not None and best.seed == prepared.plan.seed else None,
        command=prepared.command(),
        start=prepared.start,
    )
