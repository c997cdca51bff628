"""`onelook val`: arguments to the validation recipe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from onelook.callbacks.metric_tables import class_table, series_table
from onelook.cli.command_result import CommandResult, document_of
from onelook.cli.messages import is_main_process
from onelook.recipes.launch import processes_to_start, validate_in_processes
from onelook.recipes.validate import ValidateResult, validate
from onelook.recipes.validation_series import Measurement
from onelook.runs.run_dir import RunDir
from onelook.settings.build import build_settings
from onelook.settings.command_line import typed_options
from onelook.settings.validate import ValidateSettings

MANY_CLASSES = 50
"""From this number on, classes are shown on demand only."""


def run(arguments: argparse.Namespace) -> CommandResult:
    given = typed_options(arguments, ValidateSettings)
    settings = build_settings(ValidateSettings, given, file=arguments.settings)
    count = processes_to_start(settings)
    if count > 1:  # they show the numbers
        return CommandResult(_document(validate_in_processes(given, settings, count, file=arguments.settings), ()))
    result = validate(given, file=arguments.settings)
    if not is_main_process():
        return CommandResult()
    if result.measurements:
        rows = [(str(one.weights), one.imgsz, one.metrics, one.milliseconds) for one in result.measurements]
        Console().print(series_table(rows))
    else:
        _show_metrics(result, verbose=settings.verbose)
    print(f"results are in {result.run_folder}")
    return CommandResult(_document(RunDir(result.run_folder), result.measurements))


def _document(run: RunDir, measurements: Sequence[Measurement]) -> dict[str, Any]:
    if run.metrics.exists():
        return {"run_folder": run.path, "metrics": document_of(run.metrics)}
    rows = [
        {"weights": one.weights, "imgsz": one.imgsz, "map50": one.metrics.map50, "map50_95": one.metrics.map50_95,
         "milliseconds_per_image": one.milliseconds}
        for one in measurements
    ]  # fmt: skip
    return {"run_folder": run.path, "measurements": rows}


def _show_metrics(result: ValidateResult, *, verbose: bool) -> None:
    has_many = len(result.names) >= MANY_CLASSES and not verbose
    console = Console()
    table = class_table(result.metrics, result.names, with_classes=not has_many, width=console.width)
    console.print(table)
    if has_many:
        print(f"`--verbose` shows the {len(result.metrics.class_ids)} classes that have labels")
    times = ", ".join(f"{name} {value:.1f}" for name, value in result.evaluation.milliseconds.items())
    print(f"milliseconds per image: {times}")
