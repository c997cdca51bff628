"""`onelook val`: arguments to the validation recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from onelook.callbacks.class_table import class_table
from onelook.cli.messages import speaks_to_the_user
from onelook.recipes.launch import validate_on_devices
from onelook.settings.command_line import add_options, typed_options
from onelook.settings.validate import ValidateSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command: one per setting, and a file of settings."""
    parser.add_argument("--settings", type=Path, metavar="PATH", help="YAML file with any of the settings below")
    add_options(parser, ValidateSettings)


def run(arguments: argparse.Namespace) -> int:
    """Validate; the exit code."""
    given = typed_options(arguments, ValidateSettings)
    result = validate_on_devices(given, file=arguments.settings)
    if result is None or not speaks_to_the_user():
        return 0
    Console().print(class_table(result.metrics, result.names))
    times = ", ".join(f"{name} {value:.1f}" for name, value in result.evaluation.milliseconds.items())
    print(f"milliseconds per image: {times}")
    print(f"everything is in {result.run_folder}")
    return 0
