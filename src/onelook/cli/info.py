"""`onelook info`: what a file of weights holds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from operator import mul

from onelook.cli.command_result import CommandResult
from onelook.files.bounded import printable
from onelook.recipes.info import InfoResult, info
from onelook.settings.command_line import settings_arguments, typed_options
from onelook.settings.info import InfoSettings

MAX_NAMES = 10


add_arguments = settings_arguments(InfoSettings, positional=("weights",))


def run(arguments: argparse.Namespace) -> CommandResult:
    """Show what is in the file."""
    result = info(typed_options(arguments, InfoSettings), file=arguments.settings)
    for line in _lines(result):
        print(line)
    if result.asked.rows:
        for line in _rows(result):
            print(line)
    if result.layers:
        for line in _sparsity(result):
            print(line)
    for measured in result.pruned:
        print(f"{measured.percentage:>5g} % pruned: mAP50 {measured.map50:.4f}, mAP50-95 {measured.map50_95:.4f}")
    return CommandResult(result)


def _lines(result: InfoResult) -> Iterator[str]:
    yield f"{printable(result.path)}: {result.kind}, {result.num_bytes / 1e6:,.2f} MB"
    if result.sha256:
        yield f"SHA-256: {result.sha256}"
    if result.summary is not None:
        summary = result.summary
        strides = " ".join(map(str, summary.strides))
        yield (
            f"model: {summary.layers} layers, {summary.parameters:,} parameters, "
            f"{summary.gflops:.1f} GFLOPs at {summary.imgsz} x {summary.imgsz}, strides {strides}"
        )
    names = ", ".join(map(repr, result.names[:MAX_NAMES]))
    yield f"classes: {len(result.names)} ({names}{', ...' if len(result.names) > MAX_NAMES else ''})"
    for name, value in result.facts.items():
        yield f"{name}: {value}"
    if result.metrics:
        yield "metrics: " + ", ".join(f"{name} {value:.4f}" for name, value in result.metrics.items())
    if result.changed:
        yield "settings: " + ", ".join(f"{name} {value}" for name, value in result.changed.items())


def _rows(result: InfoResult) -> Iterator[str]:
    assert result.summary is not None
    for row in result.summary.rows:
        sources = ",".join(map(str, row.sources))
        yield f"  {row.row:>3} from {sources:<12}{row.block:<18}x{row.repeats:<3}{row.parameters:>12,}"


def _sparsity(result: InfoResult) -> Iterator[str]:
    heads = "".join(f"{f'pruned {percentage:g} %':>14}" for percentage in result.asked.prune)
    yield f"{'layer':<32}{'weights':>12}{f'below {result.asked.threshold:g}':>14}{heads}"
    for layer in result.layers:
        cells = "".join(f"{100 * share:>12.1f} %" for share in (layer.below, *layer.pruned))
        yield f"{layer.name:<32}{layer.weights:>12,}{cells}"
    total = sum(layer.weights for layer in result.layers)
    shares = zip(*((layer.below, *layer.pruned) for layer in result.layers), strict=True)
    sizes = [layer.weights / total for layer in result.layers]
    cells = "".join(f"{100 * sum(map(mul, sizes, column)):>12.1f} %" for column in shares)
    yield f"{'all':<32}{total:>12,}{cells}"
