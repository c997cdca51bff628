"""`onelook convert-data`: a dataset in another format."""

from __future__ import annotations

import argparse

from onelook.cli.command_result import CommandResult
from onelook.errors import counted
from onelook.recipes.convert_data import LEDGER_NAME, convert_data
from onelook.settings.command_line import typed_options
from onelook.settings.convert_data import ConvertDataSettings


def run(arguments: argparse.Namespace) -> CommandResult:
    result = convert_data(typed_options(arguments, ConvertDataSettings), file=arguments.settings)
    splits = {}
    for split, scan in result.splits.scans.items():
        kept = {"images": len(scan.index), "labels": len(scan.index.class_ids)}
        print(f"{split}: {counted(kept['images'], 'image')}, {counted(kept['labels'], 'label')}")
        left_out = scan.ledger.images_unusable, scan.ledger.rows_read - scan.ledger.rows_used
        if any(left_out):
            both = f"{counted(left_out[0], 'image')}, {counted(left_out[1], 'label row')}"
            print(f"{split}: left out: {both}; see {LEDGER_NAME}")
        splits[split] = {**kept, "images_left_out": left_out[0], "rows_left_out": left_out[1]}
    for what, count in result.losses.items():
        print(f"the format cannot store {what}: {count}")
    print(f"the dataset is in {result.path.parent}; use it with --data {result.path}")
    return CommandResult({"data": result.path, "splits": splits, "losses": result.losses})
