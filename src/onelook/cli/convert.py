"""`onelook convert`: a checkpoint of YOLOv5 to one of ours, and ours to smaller ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from onelook.cli.command_result import CommandResult
from onelook.recipes.convert import convert


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "weights", type=Path, help="checkpoint of YOLOv5 6.0 to 7.0 (.pt), of which nothing is run, or of Onelook"
    )
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="where to (default: beside the file, with the suffix .safetensors)"
    )
    parser.add_argument("--exist-ok", action="store_true", help="replace a file that is there")
    parser.add_argument(
        "--ema-only", action="store_true", help="keep the averaged weights only, without the state of the training"
    )
    parser.add_argument(
        "--fuse", action="store_true", help="fold batch-norms into convolutions; the result cannot be trained on"
    )
    parser.add_argument("--half", action="store_true", help="store the weights in 16 bits; half the size")


def run(arguments: argparse.Namespace) -> CommandResult:
    """Convert."""
    conversion = convert(
        arguments.weights,
        arguments.out,
        exist_ok=arguments.exist_ok,
        ema_only=arguments.ema_only,
        fused=arguments.fuse,
        half=arguments.half,
    )
    source = conversion.source
    origin = "averaged weights" if source.part == "ema" else "weights"
    if source.epoch >= 0:
        origin += f" after epoch {source.epoch}"
    if source.date:
        origin += f", written {source.date}"
    names = ", ".join(conversion.names[:10]) + (", ..." if len(conversion.names) > 10 else "")
    print(f"{origin}: {conversion.num_parameters:,} parameters, {len(conversion.names)} classes ({names})")
    print(f"all {conversion.num_tensors} tensors are in {conversion.path}")
    return CommandResult(conversion)
