"""Validation of a checkpoint on a split."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onelook.engine.backend import Backend, Thresholds, check_thresholds
from onelook.engine.evaluator import Evaluation, EvaluationSettings, Evaluator
from onelook.engine.process import joined_world, reasons_given
from onelook.engine.run_dir import RunDir
from onelook.engine.stop_signal import StopSignal
from onelook.errors import ModelError, SettingsError
from onelook.exports.opening import load_runnable
from onelook.files.atomic import write_bytes_atomic, write_text_atomic
from onelook.metrics.coco_json import to_coco_json
from onelook.models.detector import DetectionModel
from onelook.recipes.loading import validation_batches
from onelook.recipes.pictures import draw_evaluation
from onelook.recipes.splits import Splits, read_splits, scan_options, write_ledgers
from onelook.settings.build import build_settings
from onelook.settings.validate import ValidateSettings
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.metrics import DetectionMetrics, as_arrays


@dataclass(frozen=True)
class ValidateResult:
    """What a validation gives.

    Attributes:
        metrics: the numbers.
        evaluation: with the detections and the speed.
        names: of the classes.
        run_folder: where everything is.
    """

    metrics: DetectionMetrics
    evaluation: Evaluation
    names: tuple[str, ...]
    run_folder: Path


def validate(given: Mapping[str, Any], *, file: Path | None = None) -> ValidateResult:
    """Measure a checkpoint on a split.

    Args:
        given: settings by name; see `ValidateSettings`.
        file: YAML file with more settings, weaker than `given`.

    Raises:
        OnelookError: a setting, the data or the checkpoint cannot be used.
        StopRequested: Ctrl-C or SIGTERM.
    """
    settings = build_settings(ValidateSettings, given, file=file)
    with StopSignal() as stop, joined_world() as world, reasons_given(world):
        model = load_runnable(settings.weights, settings.device, local_rank=world.local_rank)
        intake = _intake(model, settings)
        options = scan_options(settings)
        splits = world.first_then_others(
            lambda: read_splits(settings.data, (settings.task,), options=options, stop=stop)
        )
        _refuse_other_classes(model, splits, settings)
        run = RunDir(Path(world.first(lambda: str(_new_run(settings).path))))
        index = splits.scans[settings.task].index
        evaluator = Evaluator(
            index,
            lambda: validation_batches(
                index,
                settings,
                stride=intake.stride,
                device=intake.device,
                frame_hw=intake.frame_hw,
                rank=world.rank,
                world_size=world.size,
            ),
            num_classes=model.num_classes,
            settings=EvaluationSettings(
                conf_thres=settings.conf_thres,
                iou_thres=settings.iou_thres,
                max_det=settings.max_det,
                agnostic=settings.single_cls,
            ),
            world=world,
        )
        evaluation = evaluator.run(model, stop=stop)
    if world.is_first:
        _write(run, index, evaluation, splits, settings)
    return ValidateResult(evaluation.metrics, evaluation, splits.names, run.path)


def _new_run(settings: ValidateSettings) -> RunDir:
    return RunDir.create(settings.project, settings.name, exist_ok=settings.exist_ok)


def _write(
    run: RunDir, index: DatasetIndex, evaluation: Evaluation, splits: Splits, settings: ValidateSettings
) -> None:
    write_ledgers(splits, run.ledger)
    write_metrics(evaluation, splits.names, run)
    if settings.save_json:
        _write_coco(index, evaluation, splits.names, run)
    if not settings.noplots:
        draw_evaluation(run, index, evaluation, splits.names)


def write_metrics(evaluation: Evaluation, names: tuple[str, ...], run: RunDir) -> None:
    """Write the numbers of an evaluation as JSON, per class and in all, undefined ones as null; and all as arrays."""
    metrics = evaluation.metrics
    scalars = ("precision", "recall", "f1", "map50", "map75", "map50_95", "map_small", "map_medium", "map_large")
    content: dict[str, Any] = {
        name: _finite(getattr(metrics, name)) for name in (*scalars, "fitness", "best_confidence")
    }
    content |= {"num_images": metrics.num_images, "num_labels": metrics.num_labels}
    content["classes"] = [
        {
            "name": names[int(class_id)],
            "images": int(metrics.class_num_images[row]),
            "labels": int(metrics.class_num_labels[row]),
            "precision": _finite(metrics.class_precision[row]),
            "recall": _finite(metrics.class_recall[row]),
            "f1": _finite(metrics.class_f1[row]),
            "ap50": _finite(metrics.class_ap50[row]),
            "ap50_95": _finite(metrics.class_ap[row]),
        }
        for row, class_id in enumerate(metrics.class_ids)
    ]
    content["confusion"] = metrics.confusion.tolist()
    content["milliseconds_per_image"] = {name: round(value, 3) for name, value in evaluation.milliseconds.items()}
    write_text_atomic(run.metrics, json.dumps(content, indent=1) + "\n")
    arrays = io.BytesIO()
    np.savez_compressed(arrays, allow_pickle=False, **as_arrays(metrics))
    write_bytes_atomic(run.metrics_arrays, arrays.getvalue())


def _finite(value: float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


@dataclass(frozen=True)
class _Intake:
    """What a model takes: where, and frames that are multiples of a stride, or only one, pixels."""

    device: torch.device
    stride: int
    frame_hw: tuple[int, int] | None = None


def _intake(model: DetectionModel | Backend, settings: ValidateSettings) -> _Intake:
    """What the model takes.

    Raises:
        SettingsError: an exported model was made for another size, or suppresses boxes that are asked for.
    """
    if isinstance(model, DetectionModel):
        return _Intake(next(model.parameters()).device, model.max_stride)
    if model.frame_hw is not None and max(model.frame_hw) != settings.imgsz:
        height, width = model.frame_hw
        raise SettingsError(
            f"setting `imgsz` is {settings.imgsz}; the model was exported for {height} x {width} only",
            hint=f"use `--imgsz {max(model.frame_hw)}`, or export with `--dynamic`",
        )
    asked = Thresholds(settings.conf_thres, settings.iou_thres, settings.max_det, settings.single_cls)
    check_thresholds(model, asked)
    return _Intake(model.device, model.stride, model.frame_hw)


def _refuse_other_classes(model: DetectionModel | Backend, splits: Splits, settings: ValidateSettings) -> None:
    if model.num_classes != len(splits.names) and not settings.single_cls:
        raise ModelError(
            f"weights `{settings.weights}` have {model.num_classes} classes, `{settings.data}` has {len(splits.names)}",
            hint=f"the weights know: {', '.join(model.names[:20])}",
        )
    if settings.single_cls and model.num_classes != 1:
        raise SettingsError(
            f"`single_cls` needs weights of one class, but `{settings.weights}` have {model.num_classes}",
            hint="train with `--single-cls`",
        )


def _write_coco(index: DatasetIndex, evaluation: Evaluation, names: tuple[str, ...], run: RunDir) -> None:
    truths = [index.ground_truth(image) for image in range(len(index))]
    truth, predictions = to_coco_json(truths, evaluation.detections, num_classes=len(names))
    write_text_atomic(run.picture("coco_truth.json"), json.dumps(truth))
    write_text_atomic(run.picture("coco_predictions.json"), json.dumps(predictions))
