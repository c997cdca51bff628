"""What a run starts from: checked before any image is read, and logged."""

from __future__ import annotations

import logging
from pathlib import Path

from onelook.errors import SettingsError
from onelook.models.detector import DetectionModel, skeleton_of
from onelook.settings.train import TrainSettings
from onelook.structures.origin import Origin
from onelook.training.freeze import frozen_rows
from onelook.training.weights import DEFAULT_MODEL, read_weights

logger = logging.getLogger(__name__)

OTHER_STARTS = (
    "on small datasets, pretrained weights help most: `--weights` takes `yolox-nano` to `yolox-x` (COCO, Apache-2.0, "
    "fetched by `onelook download yolox-nano`), a `.pt` of YOLOv5, or an earlier run"
)


def inputs_of(settings: TrainSettings) -> list[str | Path]:
    """The files and folders that the settings of a run name to be read."""
    named = (settings.weights, settings.teacher, settings.data, settings.cfg, settings.hyp)
    return [path for path in named if path]


def check_start(settings: TrainSettings) -> None:
    """Check model, weights, teacher, image size and frozen layers of a new run; takes no memory for the model.

    Raises:
        ModelError: the definition is missing or cannot be built.
        CheckpointError: the weights, or those of the teacher, cannot be read.
        SettingsError: the image size or the frozen layers do not fit the model; `epochs` was set beside `time`.
    """
    if settings.time and "epochs" in settings.model_fields_set:
        raise SettingsError(
            f"settings `time: {settings.time:g}` and `epochs: {settings.epochs}` cannot be used together: the time "
            "decides how many epochs there are",
            hint="drop one of them",
        )
    if settings.teacher:
        read_weights(Path(settings.teacher))
    weights = read_weights(Path(settings.weights)) if settings.weights else None
    definition = settings.cfg or (weights.definition if weights else DEFAULT_MODEL)
    model = skeleton_of(definition, num_classes=1)
    check_image_size(settings, model)
    frozen_rows(model, settings.freeze)


def check_image_size(settings: TrainSettings, model: DetectionModel) -> None:
    """Refuse images that the maps of the model do not divide.

    Raises:
        SettingsError: `imgsz` is no multiple of the largest stride, or less than two of them.
    """
    stride = model.max_stride
    if settings.imgsz % stride or settings.imgsz < 2 * stride:
        fitting = max(-(-settings.imgsz // stride), 2) * stride
        raise SettingsError(
            f"setting `imgsz` is {settings.imgsz}; this model needs a multiple of {stride}, at least {2 * stride}",
            hint=f"use `--imgsz {fitting}`",
        )


def say_start(settings: TrainSettings, origin: Origin | None) -> None:
    """Log in one line what the run starts from, under which licence, and which other weights there are."""
    if settings.weights:
        known = "which do not say where they come from" if origin is None else str(origin)
        logger.info("starts from weights `%s`: %s", settings.weights, known)
    else:
        logger.info("training starts from random weights; %s", OTHER_STARTS)
