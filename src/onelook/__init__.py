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
    from onelook.inference.predictor import Predictor
    from onelook.models.detector import DetectionModel, create_model
    from onelook.recipes.check import CheckResult
    from onelook.recipes.detector import Detector
    from onelook.recipes.result import ImageResult
    from onelook.settings.benchmark import BenchmarkSettings
    from onelook.settings.check import CheckSettings
    from onelook.settings.detect import DetectSettings
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
    from onelook.structures.sample import GroundTruth, Sample
    from onelook.training.callback import Callback
    from onelook.training.trainer import Trainer

# Where each public name lives: torch takes seconds to import, so a name is fetched when it is first used.
_HOMES = {
    "Batch": "onelook.structures.batch",
    "BenchmarkSettings": "onelook.settings.benchmark",
    "Callback": "onelook.training.callback",
    "CheckResult": "onelook.recipes.check",
    "CheckSettings": "onelook.settings.check",
    "DetectSettings": "onelook.settings.detect",
    "DetectionMetrics": "onelook.structures.metrics",
    "DetectionModel": "onelook.models.detector",
    "Detections": "onelook.structures.detections",
    "Detector": "onelook.recipes.detector",
    "DownloadSettings": "onelook.settings.download",
    "EvolveSettings": "onelook.settings.evolve",
    "ExportSettings": "onelook.settings.export",
    "FoldsSettings": "onelook.settings.folds",
    "GroundTruth": "onelook.structures.sample",
    "InfoSettings": "onelook.settings.info",
    "OnelookError": "onelook.errors",
    "ImageResult": "onelook.recipes.result",
    "Predictor": "onelook.inference.predictor",
    "Sample": "onelook.structures.sample",
    "ServeSettings": "onelook.settings.serve",
    "SplitSettings": "onelook.settings.split",
    "Targets": "onelook.structures.batch",
    "TrainSettings": "onelook.settings.train",
    "Trainer": "onelook.training.trainer",
    "ValidateSettings": "onelook.settings.validate",
    "benchmark": "onelook.api",
    "check": "onelook.api",
    "convert": "onelook.api",
    "create_model": "onelook.models.detector",
    "detect": "onelook.api",
    "download": "onelook.api",
    "evolve": "onelook.api",
    "export": "onelook.api",
    "info": "onelook.api",
    "load": "onelook.api",
    "report": "onelook.api",
    "serve": "onelook.api",
    "split": "onelook.api",
    "train": "onelook.api",
    "train_folds": "onelook.api",
    "validate": "onelook.api",
}

__all__ = [
    "Batch",
    "BenchmarkSettings",
    "Callback",
    "CheckResult",
    "CheckSettings",
    "DetectSettings",
    "DetectionMetrics",
    "DetectionModel",
    "Detections",
    "Detector",
    "DownloadSettings",
    "EvolveSettings",
    "ExportSettings",
    "FoldsSettings",
    "GroundTruth",
    "ImageResult",
    "InfoSettings",
    "OnelookError",
    "Predictor",
    "Sample",
    "ServeSettings",
    "SplitSettings",
    "Targets",
    "TrainSettings",
    "Trainer",
    "ValidateSettings",
    "benchmark",
    "check",
    "convert",
    "create_model",
    "detect",
    "download",
    "evolve",
    "export",
    "info",
    "load",
    "report",
    "serve",
    "split",
    "train",
    "train_folds",
    "validate",
]


def __getattr__(name: str) -> Any:
    """The public name `name`, imported on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module `onelook` has no attribute `{name}`")
    return getattr(import_module(_HOMES[name]), name)
