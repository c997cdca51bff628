"""`onelook report`: arguments to the report recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from onelook.recipes.report import report
from onelook.settings.command_line import add_options, typed_options
from onelook.settings.report import ReportSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--settings", type=Path, metavar="PATH", help="YAML file with any of the settings below")
    add_options(parser, ReportSettings, positional=("runs",))


def run(arguments: argparse.Namespace) -> int:
    """Write the page; the exit code."""
    path = report(typed_options(arguments, ReportSettings), file=arguments.settings)
    print(f"the report is {path}")
    return 0
