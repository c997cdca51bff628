"""Chooses the best and worst images of an evaluation, and writes them with their labels and detections."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.drawing.thumbnail import thumbnail
from onelook.errors import DataError
from onelook.files.atomic import write_text_atomic
from onelook.files.bounded import printable
from onelook.metrics.image_outcomes import ImageOutcome, image_outcomes
from onelook.reports.examples import FORMAT, MAX_BOXES, NUM_EACH, Example, ExampleBox, Examples
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.detections import Detections
from onelook.structures.metrics import DetectionMetrics
from onelook.structures.sample import ImageLabels

logger = logging.getLogger(__name__)


def write_examples(
    path: Path, index: DatasetIndex, detections: Sequence[Detections], metrics: DetectionMetrics
) -> None:
    """Write the best and worst images of a split at the best confidence; equal evaluations give equal files.

    A full disk costs only a warning.
    """
    labels = [index.image_labels(image) for image in range(len(index))]
    outcomes = image_outcomes(labels, detections, num_classes=metrics.num_classes, confidence=metrics.best_confidence)
    worst, best = choose_examples(outcomes)

    def shown(images: Sequence[int]) -> tuple[Example, ...]:
        made = (_example(index, image, labels[image], detections[image], outcomes[image]) for image in images)
        return tuple(example for example in made if example is not None)

    content = asdict(Examples(metrics.best_confidence, shown(worst), shown(best)))
    try:
        write_text_atomic(path, json.dumps({"format": FORMAT, **content}, separators=(",", ":")) + "\n")
    except OSError as problem:
        logger.warning("`%s` was not written: %s; the report leaves it out", path, problem.strerror or problem)


def choose_examples(outcomes: Sequence[ImageOutcome]) -> tuple[list[int], list[int]]:
    """The worst images, with an error, and the best, with a label that was found; at most 6 each, none in both."""
    images = range(len(outcomes))
    ranked = sorted(images, key=lambda image: (outcomes[image].f1, -outcomes[image].num_errors, image))
    worst = [image for image in ranked if outcomes[image].num_errors][:NUM_EACH]
    ranked = sorted(images, key=lambda image: (-outcomes[image].f1, -outcomes[image].num_right, image))
    best = [image for image in ranked if outcomes[image].num_right and image not in worst][:NUM_EACH]
    return worst, best


def _example(
    index: DatasetIndex, image: int, own: ImageLabels, found: Detections, outcome: ImageOutcome
) -> Example | None:
    size_hw = index.size_of(image)
    try:
        jpeg = thumbnail(index.paths[image], size_hw, max_pixels=index.max_pixels)
    except DataError as problem:
        logger.warning("%s; the report leaves it out", problem.message)
        return None
    labels = _boxes(own.boxes, own.class_ids, outcome.is_found)
    kept = outcome.is_shown
    return Example(
        file=printable(index.paths[image]),
        size_hw=size_hw,
        jpeg=base64.b64encode(jpeg).decode("ascii"),
        right=outcome.num_right,
        missed=outcome.num_missed,
        wrong=outcome.num_wrong,
        labels=labels,
        detections=_boxes(found.boxes[kept], found.class_ids[kept], outcome.is_right[kept], found.scores[kept]),
    )


def _boxes(
    boxes: npt.NDArray[Any],
    class_ids: npt.NDArray[np.int64],
    is_right: npt.NDArray[np.bool_],
    scores: npt.NDArray[Any] | None = None,
) -> tuple[ExampleBox, ...]:
    corners = np.asarray(boxes, np.float64).round(1).tolist()
    values = [None] * len(corners) if scores is None else np.asarray(scores, np.float64).round(4).tolist()
    rows = zip(corners, class_ids.tolist(), is_right.tolist(), values, strict=True)
    return tuple(ExampleBox(tuple(box), class_id, right, score) for box, class_id, right, score in rows)[:MAX_BOXES]
