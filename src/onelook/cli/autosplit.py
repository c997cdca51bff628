"""`onelook autosplit`: a folder of images to train, val and test lists."""

from __future__ import annotations

import argparse

from onelook.cli.command_result import CommandResult
from onelook.data.split_folder import autosplit
from onelook.errors import counted

NEWLINE = b"\n"


def run(arguments: argparse.Namespace) -> CommandResult:
    lists = autosplit(
        arguments.images,
        output_folder=arguments.output,
        fractions=arguments.fractions,
        seed=arguments.seed,
        annotated_only=arguments.annotated_only,
    )
    counts = {split: path.read_bytes().count(NEWLINE) for split, path in lists.items()}
    for split, path in lists.items():
        print(f"{split}: {counted(counts[split], 'image')}, listed in {path}")
    return CommandResult({"lists": lists, "images": counts})
