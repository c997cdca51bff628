"""`onelook report`: arguments to the report recipe."""

from __future__ import annotations

import argparse

from onelook.recipes.report import report
from onelook.settings.command_line import settings_arguments, typed_options
from onelook.settings.report import ReportSettings

add_arguments = settings_arguments(ReportSettings, positional=("runs",))


def run(arguments: argparse.Namespace) -> int:
    """Write the page; the exit code."""
    path = report(typed_options(arguments, ReportSettings), file=arguments.settings)
    print(f"the report is {path}")
    return 0
