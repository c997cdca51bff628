"""`onelook download`: fetches the dataset that a YAML describes, or a public one."""

from __future__ import annotations

import argparse
from pathlib import Path

from onelook.data.sets import PUBLIC_SETS
from onelook.recipes.download import download
from onelook.settings.command_line import add_options, typed_options
from onelook.settings.download import DownloadSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--settings", type=Path, metavar="PATH", help="YAML file with any of the settings below")
    add_options(parser, DownloadSettings, positional=("data",))
    parser.epilog = "Public datasets: " + "; ".join(f"{name}: {what}" for name, what in PUBLIC_SETS.items())


def run(arguments: argparse.Namespace) -> int:
    """Fetch; the exit code."""
    result = download(typed_options(arguments, DownloadSettings), file=arguments.settings)
    print(f"{len(result.fetched)} archives with {result.files:,} files are in {result.root}")
    print(f"train with `--data {result.data}`")
    return 0
