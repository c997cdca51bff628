"""`onelook models`: the shipped models with their sizes."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from onelook.cli.command_result import CommandResult
from onelook.models.catalog import MODELS
from onelook.models.count import describe

NUM_CLASSES = 80


def run(arguments: argparse.Namespace) -> CommandResult:
    print(f"{'model':<22}{'layers':>7}{'parameters':>13}{'GFLOPs':>8}  {'strides':<16}({NUM_CLASSES} classes, 640 px)")
    shown = []
    for name in arguments.names or MODELS:
        summary = describe(name, num_classes=NUM_CLASSES)
        strides = " ".join(str(int(stride)) for stride in summary.strides)
        what = MODELS.get(name, "").replace("mask head", "mask head; trains boxes only")
        print(f"{name:<22}{summary.layers:>7}{summary.parameters:>13,}{summary.gflops:>8.1f}  {strides:<16}{what}")
        if arguments.rows:
            print(*summary.rows, sep="\n")
        shown.append({"name": name, "what": what, **asdict(summary)})
    return CommandResult({"models": shown})
