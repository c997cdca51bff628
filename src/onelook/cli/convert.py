"""`onelook convert`: a checkpoint of YOLOv5 to one of ours."""

from __future__ import annotations

import argparse
from pathlib import Path

from onelook.recipes.convert import convert


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("weights", type=Path, help="checkpoint of YOLOv5 6.0 to 7.0 (.pt); nothing in it is run")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="where to (default: beside the file, with the suffix .safetensors)"
    )
    parser.add_argument("--exist-ok", action="store_true", help="replace a file that is there")


def run(arguments: argparse.Namespace) -> int:
    """Convert; the exit code."""
    conversion = convert(arguments.weights, arguments.out, exist_ok=arguments.exist_ok)
    source = conversion.source
    origin = "averaged weights" if source.part == "ema" else "weights"
    if source.epoch >= 0:
        origin += f" after epoch {source.epoch}"
    if source.date:
        origin += f", written {source.date}"
    names = ", ".join(source.names[:10]) + (", ..." if len(source.names) > 10 else "")
    print(f"{origin}: {conversion.num_parameters:,} parameters, {len(source.names)} classes ({names})")
    print(f"all {len(source.tensors)} tensors are in {conversion.path}")
    return 0
