"""`onelook autosplit`: a folder of images to train, val and test lists."""

from __future__ import annotations

import argparse
from pathlib import Path

from onelook.cli.command_result import CommandResult
from onelook.data.split_folder import autosplit

NEWLINE = b"\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("images", type=Path, help="folder of images, searched at all depths")
    parser.add_argument(
        "--output", type=Path, default=Path(), metavar="PATH", help="folder of the lists (default: here)"
    )
    parser.add_argument(
        "--fractions",
        type=float,
        nargs=3,
        default=(0.9, 0.1, 0.0),
        metavar=("TRAIN", "VAL", "TEST"),
        help="parts that add up to 1 (default: 0.9 0.1 0)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another split (default: 0)")
    parser.add_argument("--annotated-only", action="store_true", help="leave out images without a label file")


def run(arguments: argparse.Namespace) -> CommandResult:
    """Divide."""
    lists = autosplit(
        arguments.images,
        output_folder=arguments.output,
        fractions=arguments.fractions,
        seed=arguments.seed,
        annotated_only=arguments.annotated_only,
    )
    counts = {split: path.read_bytes().count(NEWLINE) for split, path in lists.items()}
    for split, path in lists.items():
        print(f"{split}: {counts[split]} images, listed in {path}")
    return CommandResult({"lists": lists, "images": counts})
