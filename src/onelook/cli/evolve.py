"""`onelook evolve`: arguments to the search of hyperparameters; also what `onelook train --evolve` does."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from onelook.callbacks.number_table import number_table
from onelook.cli.command_result import CommandResult
from onelook.errors import SettingsError, counted
from onelook.recipes.evolve import EvolveResult, evolve
from onelook.search.history import Row, ranked
from onelook.settings.build import build_settings
from onelook.settings.command_line import typed_options
from onelook.settings.evolve import EvolveSettings, SearchSettings

NUM_SHOWN = 5


def is_wanted(arguments: argparse.Namespace) -> bool:
    """Whether the arguments of `onelook train` ask for a search.

    Raises:
        SettingsError: they do not, but say how to search.
    """
    typed = typed_options(arguments, SearchSettings)
    if "resume_evolve" in typed or build_settings(SearchSettings, typed).evolve:
        return True
    without_effect = sorted(typed.keys() - {"evolve"})
    if without_effect:
        raise SettingsError(f"setting `{without_effect[0]}` has no effect without `evolve`", hint="add `--evolve`")
    return False


def run(arguments: argparse.Namespace) -> CommandResult:
    given = typed_options(arguments, EvolveSettings)
    result = evolve(given, file=arguments.settings, observer=lambda row, rows: print(_line(row, rows), flush=True))
    console = Console()
    console.print(_best_trials(result))
    if result.best is not None:
        console.print(best_hyperparameters(result, result.best))
    print(_ending(result))
    return CommandResult(result)


def _line(row: Row, rows: Sequence[Row]) -> str:
    is_best = ranked(rows)[:1] == [row]
    end = f" {row.note}" if row.note else " best so far" if is_best else ""
    state = "" if row.state == "complete" else f" {row.state}"
    results = f"fitness {row.fitness:.4f}, mAP50 {row.results[2]:.4f}, mAP50-95 {row.results[3]:.4f}"
    return f"trial {row.generation}: {results}, {counted(row.epochs, 'epoch')}{state}{end}"


def _best_trials(result: EvolveResult) -> Table:
    table = number_table("trial", "fitness", "P", "R", "mAP50", "mAP50-95", "epochs")
    for row in ranked(result.rows)[:NUM_SHOWN]:
        table.add_row(
            f"{row.generation}", *(f"{value:.4f}" for value in (row.fitness, *row.results[:4])), f"{row.epochs}"
        )
    return table


def best_hyperparameters(result: EvolveResult, best: Row) -> Table | str:
    """Those that the search has moved; a sentence if there are none."""
    table = number_table("hyperparameter", "start", "best")
    for name, value in best.genes.items():
        if value != result.start.get(name):
            table.add_row(name, f"{result.start.get(name, 0.0):g}", f"{value:g}")
    return table if table.rows else "no trial was better than the hyperparameters that the search began with"


def _ending(result: EvolveResult) -> str:
    counts = {state: sum(row.state == state for row in result.rows) for state in ("complete", "pruned", "failed")}
    epochs = sum(row.epochs for row in result.rows)
    listed = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    done = f"{counted(len(result.rows), 'trial')} ({listed}), {counted(epochs, 'epoch')} trained"
    lines = [f"{done}; results are in {result.run_folder}"]
    if len(result.rows) < result.trials:
        lines.append(f"still running elsewhere: {result.trials - len(result.rows)} of the {result.trials} trials")
    if result.best is None:
        lines.append("no trial is complete, so there are no best hyperparameters")
    else:
        lines += ["train with the best hyperparameters:", f"  {result.command}"]
    if result.weights is not None:
        lines.append(f"weights of the best trial: {result.weights}")
    return "\n".join(lines)
