"""`onelook convert-data`: a dataset in another format."""

from __future__ import annotations

import argparse

from onelook.cli.command_result import CommandResult
from onelook.recipes.convert_data import LEDGER_NAME, convert_data
from onelook.settings.command_line import typed_options
from onelook.settings.convert_data import ConvertDataSettings


def run(arguments: argparse.Namespace) -> CommandResult:
    """Convert."""
    result = convert_data(typed_options(arguments, ConvertDataSettings), file=arguments.settings)
    splits = {}
    for split, scan in result.splits.scans.items():
        kept = {"images": len(scan.index), "labels": len(scan.index.class_ids)}
        print(f"{split}: {kept['images']} images, {kept['labels']} labels")
        left_out = scan.ledger.images_unusable, scan.ledger.rows_read - scan.ledger.rows_used
        if any(left_out):
            print(f"{split}: left out: {left_out[0]} images, {left_out[1]} label rows; see {LEDGER_NAME}")
        splits[split] = {**kept, "images_left_out": left_out[0], "rows_left_out": left_out[1]}
    for what, count in result.losses.items():
        print(f"the format cannot store {count} {what}")
    print(f"the dataset is in {result.path.parent}; use it with --data {result.path}")
    return CommandResult({"data": result.path, "splits": splits, "losses": result.losses})
