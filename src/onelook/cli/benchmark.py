"""`onelook benchmark`: arguments to the benchmark recipe, and its table."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from onelook.cli.command_result import CommandResult
from onelook.recipes.benchmark import BenchmarkRow, benchmark
from onelook.settings.benchmark import BenchmarkSettings
from onelook.settings.command_line import typed_options


def run(arguments: argparse.Namespace) -> CommandResult:
    result = benchmark(typed_options(arguments, BenchmarkSettings), file=arguments.settings, observer=print)
    table = Table("format", "MB", "ms per image", "mAP50-95", "boxes apart, px", "scores apart")
    for row in result.rows:
        table.add_row(row.format, *_cells(row))
    Console().print(table)
    for row in result.rows:
        if row.problem:
            print(f"{row.format}: {row.problem}")
    print(f"results are in {result.run_folder}")
    return CommandResult(result)


def _cells(row: BenchmarkRow) -> list[str]:
    numbers = (
        (row.megabytes, ".1f"),
        (row.milliseconds, ".1f"),
        (row.map50_95, ".4f"),
        (row.box_px, ".2g"),
        (row.score, ".1g"),
    )
    return ["-" if value is None else format(value, style) for value, style in numbers]
