"""`onelook detect`: arguments to the detection recipe."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from onelook.errors import DataError
from onelook.files.bounded import printable
from onelook.recipes.detect import FrameResult, detect
from onelook.settings.command_line import add_options, typed_options
from onelook.settings.detect import DetectSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command: one per setting, and a file of settings."""
    parser.add_argument("--settings", type=Path, metavar="PATH", help="YAML file with any of the settings below")
    add_options(parser, DetectSettings)


def run(arguments: argparse.Namespace) -> int:
    """Detect; the exit code, that of a data error if a file of the source could not be used."""
    result = detect(
        typed_options(arguments, DetectSettings),
        file=arguments.settings,
        observer=lambda frame: print(_line(frame)),
    )
    for problem in result.problems:
        print(f"error: {problem}", file=sys.stderr)
    times = ", ".join(f"{name} {value:.1f}" for name, value in result.milliseconds.items())
    print(f"{len(result.frames)} pictures; milliseconds per picture: {times}")
    if result.run_folder is not None:
        print(f"everything is in {result.run_folder}")
    return DataError.exit_code if result.problems else 0


def _line(frame: FrameResult) -> str:
    place = printable(frame.path)
    if frame.number is not None:
        place += f" frame {frame.number}/{frame.num_frames}"
    counts = Counter(frame.names[class_id] for class_id in frame.detections.class_ids.tolist())
    found = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
    height, width = frame.size_hw
    return f"{place}: {width}x{height}, {found}, {frame.milliseconds:.1f} ms"
