"""Onelook trains, validates and runs object detectors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onelook.api import (
        benchmark,
        check,
        convert,
        detect,
        download,
        evolve,
        export,
        info,
        load,
        report,
        serve,
        split,
        train,
        train_folds,
        validate,
    )
    from onelook.errors import OnelookError
    from onelook.inference.detector import Detector
    from onelook.inference.image_result import ImageResult
    from onelook.inference.predictor import Predictor
    from onelook.models.detector import DetectionModel, create_model
    from onelook.recipes.check import CheckResult
    from onelook.settings.benchmark import BenchmarkSettings
    from onelook.settings.check import CheckSettings
    from onelook.settings.detect import DetectSettings, LoadSettings
    from onelook.settings.download import DownloadSettings
    from onelook.settings.evolve import EvolveSettings
    from onelook.settings.export import ExportSettings
    from onelook.settings.folds import FoldsSettings
    from onelook.settings.info import InfoSettings
    from onelook.settings.serve import ServeSettings
    from onelook.settings.split import SplitSettings
    from onelook.settings.train import TrainSettings
    from onelook.settings.validate import ValidateSettings
    from onelook.structures.batch import Batch, Targets
    from onelook.structures.detections import Detections
    from onelook.structures.metrics import DetectionMetrics
    from onelook.structures.sample import ImageLabels
    from onelook.training.callback import Callback
    from onelook.training.trainer import Trainer

# Where the public names live: torch takes seconds to import, so a name is fetched when it is first used.
_NAMES = {
    "onelook.api": (
        "benchmark check convert detect download evolve export info load report serve split train train_folds validate"
    ),
    "onelook.errors": "OnelookError",
    "onelook.inference.predictor": "Predictor",
    "onelook.models.detector": "DetectionModel create_model",
    "onelook.recipes.check": "CheckResult",
    "onelook.inference.detector": "Detector",
    "onelook.inference.image_result": "ImageResult",
    "onelook.settings.benchmark": "BenchmarkSettings",
    "onelook.settings.check": "CheckSettings",
    "onelook.settings.detect": "DetectSettings LoadSettings",
    "onelook.settings.download": "DownloadSettings",
    "onelook.settings.evolve": "EvolveSettings",
    "onelook.settings.export": "ExportSettings",
    "onelook.settings.folds": "FoldsSettings",
    "onelook.settings.info": "InfoSettings",
    "onelook.settings.serve": "ServeSettings",
    "onelook.settings.split": "SplitSettings",
    "onelook.settings.train": "TrainSettings",
    "onelook.settings.validate": "ValidateSettings",
    "onelook.structures.batch": "Batch Targets",
    "onelook.structures.detections": "Detections",
    "onelook.structures.metrics": "DetectionMetrics",
    "onelook.structures.sample": "ImageLabels",
    "onelook.training.callback": "Callback",
    "onelook.training.trainer": "Trainer",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Batch", "BenchmarkSettings", "Callback", "CheckResult", "CheckSettings", "DetectSettings", "DetectionMetrics",
    "DetectionModel", "Detections", "Detector", "DownloadSettings", "EvolveSettings", "ExportSettings",
    "FoldsSettings", "ImageLabels", "ImageResult", "InfoSettings", "LoadSettings", "OnelookError", "Predictor",
    "ServeSettings", "SplitSettings", "Targets", "TrainSettings", "Trainer", "ValidateSettings", "benchmark", "check",
    "convert", "create_model", "detect", "download", "evolve", "export", "info", "load", "report", "serve", "split",
    "train", "train_folds", "validate"
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """The public name `name`, imported on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module `onelook` has no attribute `{name}`")
    return getattr(import_module(_HOMES[name]), name)
