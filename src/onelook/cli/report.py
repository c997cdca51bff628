"""`onelook report`: arguments to the report recipe."""

from __future__ import annotations

import argparse

from onelook.cli.command_result import CommandResult
from onelook.recipes.report import report
from onelook.settings.command_line import settings_arguments, typed_options
from onelook.settings.report import ReportSettings

add_arguments = settings_arguments(ReportSettings, positional=("runs",))


def run(arguments: argparse.Namespace) -> CommandResult:
    """Write the page."""
    path = report(typed_options(arguments, ReportSettings), file=arguments.settings)
    print(f"the report is {path}")
    return CommandResult({"report": path})
