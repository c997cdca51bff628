"""`onelook train`: arguments to the training recipe."""

from __future__ import annotations

import argparse

from rich.console import Console

from onelook.callbacks.console import ConsoleProgress
from onelook.callbacks.metric_tables import class_table
from onelook.cli import evolve, folds
from onelook.cli.command_result import CommandResult, document_of
from onelook.processes.launch_env import shows_result
from onelook.recipes.launch import train_on_devices
from onelook.runs.run_dir import RunDir
from onelook.settings.command_line import typed_options
from onelook.settings.train import TrainSettings


def run(arguments: argparse.Namespace) -> CommandResult:
    """Train, once or on each of several folds, or search hyperparameters with `--evolve`."""
    if folds.is_wanted(arguments):
        return folds.run(arguments)
    if evolve.is_wanted(arguments):
        return evolve.run(arguments)
    given = typed_options(arguments, TrainSettings)
    result = train_on_devices(given, file=arguments.settings, callbacks=[ConsoleProgress()])
    if not shows_result():
        return CommandResult()
    console = Console()
    console.print(class_table(result.metrics, result.names, width=console.width))
    metrics = result.metrics
    print(f"best weights: {result.best}")
    print(f"mAP50 {metrics.map50:.4f}, mAP50-95 {metrics.map50_95:.4f}; results are in {result.run_folder}")
    return CommandResult(
        {
            "run_folder": result.run_folder,
            "best": result.best,
            "last": result.last,
            "names": result.names,
            "reason": result.outcome.reason,
            "epochs_done": result.outcome.epochs_done,
            "best_epoch": result.outcome.best_epoch,
            "seconds": result.outcome.seconds,
            "metrics": document_of(RunDir(result.run_folder).metrics),
        }
    )
