"""`onelook val`: arguments to the validation recipe."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from rich.console import Console

from onelook.callbacks.class_table import class_table
from onelook.callbacks.series_table import series_table
from onelook.cli.messages import speaks_to_the_user
from onelook.recipes.launch import validate_on_devices
from onelook.recipes.validate import ValidateResult
from onelook.settings.build import build_settings
from onelook.settings.command_line import settings_arguments, typed_options
from onelook.settings.validate import ValidateSettings

MANY_CLASSES = 50
"""From this number on, classes are shown on demand only."""


add_arguments = settings_arguments(ValidateSettings)


def run(arguments: argparse.Namespace) -> int:
    """Validate; the exit code."""
    given = typed_options(arguments, ValidateSettings)
    settings = build_settings(ValidateSettings, given, file=arguments.settings)
    result = validate_on_devices(given, file=arguments.settings)
    if result is None or not speaks_to_the_user():
        return 0
    if result.measurements:
        rows = [(str(one.weights), one.imgsz, one.metrics, one.milliseconds) for one in result.measurements]
        Console().print(series_table(rows))
    else:
        _show_metrics(result, verbose=settings.verbose)
    print(f"everything is in {result.run_folder}")
    return 0


def _show_metrics(result: ValidateResult, *, verbose: bool) -> None:
    has_many = len(result.names) >= MANY_CLASSES and not verbose
    Console().print(class_table(result.metrics, result.names, with_classes=not has_many))
    if has_many:
        print(f"`--verbose` shows the {len(result.metrics.class_ids)} classes that have labels")
    print(f"milliseconds per image: {_times(result.evaluation.milliseconds)}")


def _times(milliseconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in milliseconds.items())
