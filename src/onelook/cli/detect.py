"""`onelook detect`: arguments to the detection recipe."""

from __future__ import annotations

import argparse
import sys

from onelook.cli.detect_progress import DetectProgress
from onelook.errors import DataError
from onelook.inference.sources.live import LiveCount
from onelook.recipes.detect import detect
from onelook.settings.command_line import settings_arguments, typed_options
from onelook.settings.detect import DetectSettings

add_arguments = settings_arguments(DetectSettings)


def run(arguments: argparse.Namespace) -> int:
    """Detect; the exit code, that of a data error if a file of the source could not be used."""
    with DetectProgress() as progress:
        result = detect(typed_options(arguments, DetectSettings), file=arguments.settings, observer=progress.show)
    for problem in result.problems:
        print(f"error: {problem}", file=sys.stderr)
    for count in result.live:
        print(_became(count))
    times = ", ".join(f"{name} {value:.1f}" for name, value in result.milliseconds.items())
    images = "image" if result.num_frames == 1 else "images"
    print(f"{result.num_frames} {images}, {result.frames_per_second:.1f} a second; milliseconds per image: {times}")
    if result.run_folder is not None:
        print(f"everything is in {result.run_folder}")
    return DataError.exit_code if result.problems else 0


def _became(count: LiveCount) -> str:
    again = f", connected again {count.reconnected} times" if count.reconnected else ""
    return f"{count.name}: {count.taken} frames processed, {count.dropped} passed over{again}"
