"""`onelook report`: arguments to the report recipe."""

from __future__ import annotations

import argparse
import os

from onelook.cli.command_result import CommandResult
from onelook.recipes.live_report import follow
from onelook.recipes.report import report
from onelook.settings.build import build_settings
from onelook.settings.command_line import typed_options
from onelook.settings.report import ReportSettings

NICENESS = 5
"""Niceness of a process that follows a training, which comes first."""


def run(arguments: argparse.Namespace) -> CommandResult:
    """Write the page, or serve it until the run ends."""
    given = typed_options(arguments, ReportSettings)
    if build_settings(ReportSettings, given, file=arguments.settings).watch:
        if hasattr(os, "nice"):  # Windows has no such call
            os.nice(NICENESS)
        state = follow(given, file=arguments.settings, on_start=_announce)
        print(f"the run has ended ({state.state})" if state.ended else "stopped; the run continues")
        return CommandResult({"state": state.state, "ended": state.ended})
    path = report(given, file=arguments.settings)
    print(f"the report is {path}")
    return CommandResult({"report": path})


def _announce(url: str) -> None:
    print(f"the report follows the run at {url}; Ctrl-C stops it", flush=True)
