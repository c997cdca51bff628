"""`onelook convert-data`: a dataset in another format."""

from __future__ import annotations

import argparse

from onelook.recipes.convert_data import LEDGER_NAME, convert_data
from onelook.settings.command_line import settings_arguments, typed_options
from onelook.settings.convert_data import ConvertDataSettings

add_arguments = settings_arguments(ConvertDataSettings, positional=("data",))


def run(arguments: argparse.Namespace) -> int:
    """Convert; the exit code."""
    result = convert_data(typed_options(arguments, ConvertDataSettings), file=arguments.settings)
    for split, scan in result.splits.scans.items():
        print(f"{split}: {len(scan.index)} images, {len(scan.index.class_ids)} labels")
        left_out = scan.ledger.images_unusable, scan.ledger.rows_read - scan.ledger.rows_used
        if any(left_out):
            print(f"{split}: left out: {left_out[0]} images, {left_out[1]} label rows; see {LEDGER_NAME}")
    for what, count in result.losses.items():
        print(f"the format has no place for {count} {what}")
    print(f"the dataset is in {result.path.parent}; use it with --data {result.path}")
    return 0
