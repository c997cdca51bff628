"""`onelook info`: what a file of weights holds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from onelook.cli.command_result import CommandResult
from onelook.files.bounded import printable
from onelook.recipes.info import InfoResult, info
from onelook.settings.command_line import typed_options
from onelook.settings.info import InfoSettings

MAX_NAMES = 10


def run(arguments: argparse.Namespace) -> CommandResult:
    """Show what is in the file."""
    result = info(typed_options(arguments, InfoSettings), file=arguments.settings)
    for line in _lines(result):
        print(line)
    if result.asked.rows and result.summary is not None:
        print(*result.summary.rows, sep="\n")
    return CommandResult(result)


def _lines(result: InfoResult) -> Iterator[str]:
    yield f"{printable(result.path)}: {result.kind}, {result.num_bytes / 1e6:,.2f} MB"
    if result.sha256:
        yield f"SHA-256: {result.sha256}"
    if result.summary is not None:
        yield f"model: {result.summary}, strides {' '.join(map(str, result.summary.strides))}"
    names = ", ".join(map(repr, result.names[:MAX_NAMES]))
    yield f"classes: {len(result.names)} ({names}{', ...' if len(result.names) > MAX_NAMES else ''})"
    for name, value in result.facts.items():
        yield f"{name}: {value}"
    if result.metrics:
        yield "metrics: " + ", ".join(f"{name} {value:.4f}" for name, value in result.metrics.items())
    if result.changed:
        yield "settings: " + ", ".join(f"{name} {value}" for name, value in result.changed.items())
