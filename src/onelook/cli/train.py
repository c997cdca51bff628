"""`onelook train`: arguments to the training recipe."""

from __future__ import annotations

import argparse

from rich.console import Console

from onelook.callbacks.class_table import class_table
from onelook.callbacks.console import ConsoleProgress
from onelook.cli import evolve, folds
from onelook.processes.launch_env import shows_result
from onelook.recipes.launch import train_on_devices
from onelook.settings.command_line import settings_arguments, typed_options
from onelook.settings.evolve import SearchSettings
from onelook.settings.folds import FoldOptions
from onelook.settings.train import TrainSettings

add_arguments = settings_arguments(TrainSettings, FoldOptions, SearchSettings)


def run(arguments: argparse.Namespace) -> int:
    """Train, once or on each of several folds, or search hyperparameters with `--evolve`; the exit code."""
    if folds.is_wanted(arguments):
        return folds.run(arguments)
    if evolve.is_wanted(arguments):
        return evolve.run(arguments)
    given = typed_options(arguments, TrainSettings)
    result = train_on_devices(given, file=arguments.settings, callbacks=[ConsoleProgress()])
    if not shows_result():
        return 0
    Console().print(class_table(result.metrics, result.names))
    metrics = result.metrics
    print(f"best weights: {result.best}")
    print(f"mAP50 {metrics.map50:.4f}, mAP50-95 {metrics.map50_95:.4f}; everything is in {result.run_folder}")
    return 0
