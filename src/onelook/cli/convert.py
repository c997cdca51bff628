"""`onelook convert`: a checkpoint of YOLOv5 to one of ours, and ours to smaller ones."""

from __future__ import annotations

import argparse

from onelook.cli.command_result import CommandResult
from onelook.errors import counted
from onelook.recipes.convert import convert


def run(arguments: argparse.Namespace) -> CommandResult:
    conversion = convert(
        arguments.weights,
        arguments.out,
        exist_ok=arguments.exist_ok,
        ema_only=arguments.ema_only,
        fuse=arguments.fuse,
        half=arguments.half,
    )
    source = conversion.source
    origin = "averaged weights" if source.part == "ema" else "weights"
    if source.epoch >= 0:
        origin += f" after epoch {source.epoch}"
    if source.date:
        origin += f", written {source.date}"
    names = ", ".join(conversion.names[:10]) + (", ..." if len(conversion.names) > 10 else "")
    print(f"{origin}: {conversion.num_parameters:,} parameters, {counted(len(conversion.names), 'class')} ({names})")
    print(f"all {conversion.num_tensors} tensors are in {conversion.path}")
    return CommandResult(conversion)
