"""The arguments of each command: known before what it runs is imported, since torch takes seconds."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from onelook.errors import SettingsError
from onelook.settings.anchors import AnchorSettings
from onelook.settings.benchmark import BenchmarkSettings
from onelook.settings.check import CheckSettings
from onelook.settings.command_line import settings_arguments
from onelook.settings.convert_data import ConvertDataSettings
from onelook.settings.detect import DetectSettings
from onelook.settings.download import DownloadSettings
from onelook.settings.evolve import EvolveSettings, SearchSettings
from onelook.settings.export import ExportSettings
from onelook.settings.folds import FoldOptions
from onelook.settings.info import InfoSettings
from onelook.settings.report import ReportSettings
from onelook.settings.serve import ServeSettings
from onelook.settings.split import SplitSettings
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings


def _path(text: str) -> Path:
    if not text:
        raise SettingsError("a path is empty", hint="give one (`.` is the current folder)")
    return Path(text)


def _of_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="shipped names or YAML files; all shipped by default")
    parser.add_argument("--rows", action="store_true", help="also list the rows of the layer tables")


def _of_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "weights", type=_path, help="checkpoint of Onelook, or of YOLOv5 6.0 to 7.0 (.pt; no code in it is run)"
    )
    parser.add_argument(
        "--out", type=_path, metavar="PATH", help="file to write (default: beside weights, as in best-half.safetensors)"
    )
    parser.add_argument("--exist-ok", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--ema-only", action="store_true", help="keep only the averaged weights, without the training state"
    )
    parser.add_argument(
        "--fuse", action="store_true", help="fold batch norms into convolutions; the result cannot be trained further"
    )
    parser.add_argument("--half", action="store_true", help="store the weights in 16 bits; half the size")


def _of_autosplit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", type=_path, help="folder of images, searched recursively")
    parser.add_argument(
        "--output",
        type=_path,
        default=Path(),
        metavar="PATH",
        help="folder for the lists (default: the current folder)",
    )
    parser.add_argument(
        "--fractions",
        type=float,
        nargs=3,
        default=(0.9, 0.1, 0.0),
        metavar=("TRAIN", "VAL", "TEST"),
        help="parts that add up to 1 (default: 0.9 0.1 0)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another split (default: 0)")
    parser.add_argument("--annotated-only", action="store_true", help="leave out images without a label file")


ARGUMENTS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "train": settings_arguments(TrainSettings, FoldOptions, SearchSettings),
    "val": settings_arguments(ValidateSettings),
    "detect": settings_arguments(DetectSettings),
    "export": settings_arguments(ExportSettings),
    "benchmark": settings_arguments(BenchmarkSettings),
    "serve": settings_arguments(ServeSettings),
    "report": settings_arguments(ReportSettings, positional=("runs",)),
    "evolve": settings_arguments(EvolveSettings),
    "models": _of_models,
    "anchors": settings_arguments(AnchorSettings, positional=("data",)),
    "check": settings_arguments(CheckSettings, positional=("data",)),
    "info": settings_arguments(InfoSettings, positional=("weights",)),
    "env": lambda parser: None,
    "convert": _of_convert,
    "convert-data": settings_arguments(ConvertDataSettings, positional=("data",)),
    "download": settings_arguments(
        DownloadSettings,
        positional=("data",),
        epilog="Without DATA: lists the datasets and weights that are known by name.",
    ),
    "split": settings_arguments(SplitSettings, positional=("data",)),
    "autosplit": _of_autosplit,
}
"""Command -> what gives a parser its arguments."""
