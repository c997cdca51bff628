"""Several measurements in a row, tasks `speed` and `study`: each model at each size, its precision and its time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from onelook.files.atomic import write_json_atomic, write_text_atomic
from onelook.inference.backend import Backend, predict_all
from onelook.inference.evaluator import Evaluation
from onelook.inference.validation_pass import ValidationPass
from onelook.reports.evaluation_files import distinct
from onelook.reports.plots.study import plot_study
from onelook.runs.run_dir import RunDir
from onelook.structures.metrics import DetectionMetrics


@dataclass(frozen=True)
class Measurement:
    """One model at one size.

    Attributes:
        weights: the model, as it was named.
        imgsz: longest side of the images, pixels.
        milliseconds: per image: "load", "inference", "nms", "metrics".
    """

    weights: Path
    imgsz: int
    metrics: DetectionMetrics
    milliseconds: dict[str, float]


def measure_series(
    passes: ValidationPass, models: Sequence[Backend], run: RunDir
) -> tuple[tuple[Measurement, ...], Evaluation]:
    """Measure every model at every size of the settings, and write what comes out.

    Args:
        run: where the files go; those of a study are written model by model.

    Returns:
        The measurements, model by model, and the last evaluation.

    Raises:
        StopRequested: a signal came.
    """
    settings = passes.settings
    names = distinct([path.stem for path in settings.weights])
    measured: list[list[Measurement]] = []
    for name, weights, model in zip(names, settings.weights, models, strict=True):
        measured.append([])
        for imgsz, evaluation in _evaluations(passes, model):
            measured[-1].append(Measurement(weights, imgsz, evaluation.metrics, evaluation.milliseconds))
        if settings.task == "study":
            write_text_atomic(run.path / f"study_{settings.data.stem}_{name}.txt", study_text(measured[-1]))
    if settings.task == "speed":
        write_json_atomic(run.path / "speed.json", _speeds(measured, settings.batch_size))
    elif not settings.noplots:
        curves = {
            name: [
                (one.imgsz, one.milliseconds["inference"] + one.milliseconds["nms"], one.metrics.map50_95) for one in of
            ]
            for name, of in zip(names, measured, strict=True)
        }
        plot_study(curves, run.image("study.png"))
    return tuple(one for of in measured for one in of), evaluation


def _evaluations(passes: ValidationPass, model: Backend) -> Iterator[tuple[int, Evaluation]]:
    for imgsz in passes.settings.sizes:
        side = -(-imgsz // model.stride) * model.stride
        height, width = model.frame_hw or (side, side)
        predict_all(model, torch.zeros(1, 3, height, width, device=model.device))  # the first pass sets things up
        yield imgsz, passes.run(model, imgsz=imgsz)


def study_text(measurements: Sequence[Measurement]) -> str:
    """A line for each size: precision, recall, mAP50, mAP50-95, three zeros, milliseconds to load, infer, apply NMS.

    These are the ten columns of YOLOv5's studies; the zeros stand for its losses, which a validation does not compute.
    """
    lines = []
    for one in measurements:
        metrics, times = one.metrics, one.milliseconds
        numbers = [metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, 0.0, 0.0, 0.0]
        numbers += [times["load"], times["inference"], times["nms"]]
        lines.append(" ".join(f"{number:10.4g}" for number in numbers))
    return "\n".join(lines) + "\n"


def _speeds(measured: Sequence[Sequence[Measurement]], batch_size: int) -> list[dict[str, Any]]:
    return [
        {
            "weights": str(one.weights),
            "imgsz": one.imgsz,
            "batch_size": batch_size,
            "num_images": one.metrics.num_images,
            "milliseconds_per_image": {name: round(value, 3) for name, value in one.milliseconds.items()},
        }
        for of in measured
        for one in of
    ]
