"""`onelook export`: arguments to the export recipe."""

from __future__ import annotations

import argparse

from onelook.cli.command_result import CommandResult
from onelook.exports.checked_export import Exported
from onelook.recipes.export import export
from onelook.settings.command_line import typed_options
from onelook.settings.export import ExportSettings


def run(arguments: argparse.Namespace) -> CommandResult:
    given = typed_options(arguments, ExportSettings)
    return CommandResult(export(given, file=arguments.settings, observer=lambda made: print(_text(made))))


def _text(made: Exported) -> str:
    checks = made.checks
    lines = [f"{made.path}: {made.num_bytes / 1e6:.1f} MB"]
    if checks.cases:
        box_px, score = max(case.box_px for case in checks.cases), max(case.score for case in checks.cases)
        lines.append(f"  compared with the model: boxes {box_px:.2g} px apart at most, scores {score:.1g}")
    if checks.map_comparison is not None:
        model, export_map = checks.map_comparison.model, checks.map_comparison.export
        lines.append(f"  mAP50-95 of the model {model:.4f}, of the export {export_map:.4f}")
    lines.append(f"  report: {made.report}")
    return "\n".join(lines)
