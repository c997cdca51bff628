"""A page of all images of a split: right and wrong detections and missed labels, filtered by class, kind and score."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onelook.drawing.thumbnail import thumbnail
from onelook.errors import DataError, counted
from onelook.files.atomic import write_bytes_atomic, write_text_atomic
from onelook.files.bounded import printable
from onelook.metrics.image_outcomes import image_outcomes
from onelook.reports.html import render
from onelook.runs.run_dir import RunDir
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.detections import Detections
from onelook.structures.metrics import DetectionMetrics

logger = logging.getLogger(__name__)

FOLDER_NAME = "val_images"
MAX_BOXES = 100  # of one kind on one image; more cannot be told apart


def write_gallery(
    folder: Path, index: DatasetIndex, detections: Sequence[Detections], metrics: DetectionMetrics, names: Sequence[str]
) -> None:
    """Write a thumbnail of every image and the page that shows them with their boxes, and log where.

    Args:
        detections: one per image; those below the confidence of the best F1 are left out.
    """
    labels = [index.image_labels(image) for image in range(len(index))]
    outcomes = image_outcomes(labels, detections, num_classes=metrics.num_classes, confidence=metrics.best_confidence)
    (folder / FOLDER_NAME).mkdir(exist_ok=True)
    shown, num_bytes = [], 0
    for image in sorted(range(len(index)), key=lambda image: (-outcomes[image].num_errors, image)):
        height, width = index.size_of(image)
        try:
            jpeg = thumbnail(index.paths[image], (height, width), max_pixels=index.max_pixels)
        except DataError as problem:  # it has changed since it was read
            logger.warning("%s; the page leaves it out", problem.message)
            continue
        file = f"{FOLDER_NAME}/{image:06}.jpg"
        write_bytes_atomic(folder / file, jpeg)
        num_bytes += len(jpeg)
        outcome, found, own = outcomes[image], detections[image], labels[image]
        kept = outcome.is_shown
        is_right, scores = outcome.is_right[kept], found.scores[kept]
        shown.append({
            "name": Path(printable(index.paths[image])).name,
            "path": printable(index.paths[image]),
            "file": file,
            "size": [width, height],
            "labels": _rows(own.boxes, own.class_ids, outcome.is_found | ~outcome.is_label),
            "detections": _rows(found.boxes[kept], found.class_ids[kept], is_right, scores),
        })  # fmt: skip
    text = render(
        "images.html",
        title="All images",
        subtitle=printable(folder),
        sections=(),
        scripts=("gallery.js", "images.js"),
        image_sources="file: 'self'",
        names=names,
        confidence=metrics.best_confidence,
        data={"names": list(names), "images": shown},
    )
    page = RunDir(folder).gallery
    write_text_atomic(page, text)
    megabytes = (num_bytes + len(text)) / 1e6
    logger.info("%s with boxes: %s (%.1f MB)", counted(len(shown), "image"), page, megabytes)


def _rows(boxes: Any, class_ids: Any, is_right: Any, scores: Any = None) -> list[list[float]]:
    """Left, top, right, bottom, class, whether it is right, and the score if there is one, of at most 100 boxes."""
    columns = [np.asarray(boxes, np.float64).round(1).tolist(), class_ids.tolist(), is_right.astype(int).tolist()]
    if scores is not None:
        columns.append(np.asarray(scores, np.float64).round(3).tolist())
    return [[*box, *rest] for box, *rest in zip(*columns, strict=True)][:MAX_BOXES]
