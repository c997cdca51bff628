"""`onelook split`: splits a dataset, and shows what is in each part."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from onelook.callbacks.number_table import number_table
from onelook.cli.command_result import CommandResult
from onelook.errors import counted
from onelook.recipes.split_dataset import SplitResult, split_dataset
from onelook.settings.command_line import typed_options
from onelook.settings.split import SplitSettings


def run(arguments: argparse.Namespace) -> CommandResult:
    result = split_dataset(typed_options(arguments, SplitSettings), file=arguments.settings)
    total = sum(result.images[0].values())
    print(
        f"{counted(total, 'image')}"
        + (f" in {counted(result.num_groups, 'group')}" if result.num_groups < total else "")
    )
    Console().print(_table(result))
    for path in result.data:
        print(path)
    if len(result.data) > 1:
        print(f"train on all of them: onelook train --folds {result.data[0].parents[1]}")
    return CommandResult(result)


def _table(result: SplitResult) -> Table:
    """A line per class, a column per split of each dataset."""
    several = len(result.images) > 1
    titles, columns = [], []
    for number, images in enumerate(result.images):
        shown = ["val"] if several else list(images)  # of folds, the rest is what the others validate on
        for split in shown:
            titles.append(f"fold {number + 1}" if several else split)
            columns.append((number, split))
    table = number_table("", *titles)
    table.add_row("images", *(f"{result.images[number][split]:,}" for number, split in columns))
    for class_id, name in enumerate(result.names):
        cells = (f"{result.class_labels[number][split][class_id]:,}" for number, split in columns)
        table.add_row(escape(name), *cells)
    return table
