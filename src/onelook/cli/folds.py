"""What `onelook train --folds` does: arguments to the trainings on folds."""

from __future__ import annotations

import argparse

from rich.console import Console

from onelook.callbacks.console import ConsoleProgress
from onelook.callbacks.metric_tables import class_spread_table, fold_table
from onelook.cli.command_result import CommandResult, document_of
from onelook.errors import SettingsError
from onelook.metrics.fold_summary import FoldScore
from onelook.processes.launch_env import is_launched
from onelook.recipes.folds import FoldsResult, train_folds
from onelook.runs.folds_folder import FoldsFolder
from onelook.runs.newest_run import folder_to_resume
from onelook.settings.command_line import typed_options
from onelook.settings.evolve import SearchSettings
from onelook.settings.folds import FoldsSettings


def is_wanted(arguments: argparse.Namespace) -> bool:
    """Whether the arguments of `onelook train` ask for trainings on folds, or to resume some.

    Raises:
        SettingsError: they ask for a search, too.
        RunFolderError: they ask to resume the newest run, and there is none.
    """
    typed = typed_options(arguments, FoldsSettings)
    search = sorted(typed_options(arguments, SearchSettings))
    if "folds" not in typed:
        return not search and not is_launched() and folder_to_resume(typed) is not None
    if search:
        raise SettingsError(
            f"settings `folds` and `{search[0]}` cannot be used together",
            hint="search on one fold, `--data FOLDER/fold1/data.yaml`, then train on all with `--hyp`",
        )
    return True


def run(arguments: argparse.Namespace) -> CommandResult:
    """Train on all folds."""
    given = typed_options(arguments, FoldsSettings)
    result = train_folds(given, file=arguments.settings, callbacks=[ConsoleProgress()], observer=_say)
    console = Console()
    sign = "+-" if console.options.ascii_only else "±"
    console.print(fold_table(result.folds, result.summary))
    console.print()
    console.print(class_spread_table(result.summary, result.names, sign=sign))
    print(_ending(result, sign))
    return CommandResult({"run_folder": result.run_folder, **document_of(FoldsFolder(result.run_folder).document)})


def _say(score: FoldScore, num_folds: int) -> None:
    metrics = score.metrics
    text = f"{score.name} of {num_folds}: mAP50 {metrics.map50:.4f}, mAP50-95 {metrics.map50_95:.4f}"
    print(f"{text}, best epoch {score.best_epoch}", flush=True)


def _ending(result: FoldsResult, sign: str) -> str:
    spreads = result.summary.spreads
    both = [f"{one.mean:.4f} {sign} {one.sd:.4f}" for one in (spreads["map50"], spreads["map50_95"])]
    return (
        f"mean {sign} standard deviation of {len(result.folds)} folds: mAP50 {both[0]}, mAP50-95 {both[1]}\n"
        f"results are in {result.run_folder}; compare the folds with: onelook report {result.run_folder}"
    )
