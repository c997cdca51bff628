"""Onelook trains, validates and runs object detectors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onelook.api import benchmark, check, detect, evolve, export, load, report, train, train_folds, validate
    from onelook.engine.callback import Callback
    from onelook.engine.predictor import Predictor
    from onelook.engine.trainer import Trainer
    from onelook.errors import OnelookError
    from onelook.models.detector import DetectionModel, create_model
    from onelook.recipes.detector import Detector
    from onelook.recipes.picture_result import PictureResult
    from onelook.settings.benchmark import BenchmarkSettings
    from onelook.settings.detect import DetectSettings
    from onelook.settings.evolve import EvolveSettings
    from onelook.settings.export import ExportSettings
    from onelook.settings.train import TrainSettings
    from onelook.settings.validate import ValidateSettings
    from onelook.structures.batch import Batch, Targets
    from onelook.structures.detections import Detections
    from onelook.structures.metrics import DetectionMetrics
    from onelook.structures.sample import GroundTruth, Sample

# Where each public name lives: torch takes seconds to import, so a name is fetched when it is first used.
_HOMES = {
    "Batch": "onelook.structures.batch",
    "BenchmarkSettings": "onelook.settings.benchmark",
    "Callback": "onelook.engine.callback",
    "DetectSettings": "onelook.settings.detect",
    "DetectionMetrics": "onelook.structures.metrics",
    "DetectionModel": "onelook.models.detector",
    "Detections": "onelook.structures.detections",
    "Detector": "onelook.recipes.detector",
    "EvolveSettings": "onelook.settings.evolve",
    "ExportSettings": "onelook.settings.export",
    "GroundTruth": "onelook.structures.sample",
    "OnelookError": "onelook.errors",
    "PictureResult": "onelook.recipes.picture_result",
    "Predictor": "onelook.engine.predictor",
    "Sample": "onelook.structures.sample",
    "Targets": "onelook.structures.batch",
    "TrainSettings": "onelook.settings.train",
    "Trainer": "onelook.engine.trainer",
    "ValidateSettings": "onelook.settings.validate",
    "benchmark": "onelook.api",
    "check": "onelook.api",
    "create_model": "onelook.models.detector",
    "detect": "onelook.api",
    "evolve": "onelook.api",
    "export": "onelook.api",
    "load": "onelook.api",
    "report": "onelook.api",
    "train": "onelook.api",
    "train_folds": "onelook.api",
    "validate": "onelook.api",
}

__all__ = [
    "Batch",
    "BenchmarkSettings",
    "Callback",
    "DetectSettings",
    "DetectionMetrics",
    "DetectionModel",
    "Detections",
    "Detector",
    "EvolveSettings",
    "ExportSettings",
    "GroundTruth",
    "OnelookError",
    "PictureResult",
    "Predictor",
    "Sample",
    "Targets",
    "TrainSettings",
    "Trainer",
    "ValidateSettings",
    "benchmark",
    "check",
    "create_model",
    "detect",
    "evolve",
    "export",
    "load",
    "report",
    "train",
    "train_folds",
    "validate",
]


def __getattr__(name: str) -> Any:
    """The public name `name`, imported on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module `onelook` has no attribute `{name}`")
    return getattr(import_module(_HOMES[name]), name)
