"""Images of suspicions, side by side: the labels, and what the detector sees."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.doctor.findings import Scans
from onelook.doctor.judge import suspicion_text
from onelook.doctor.suspicions import Suspicion
from onelook.drawing.boxes import draw_detections
from onelook.errors import DataError
from onelook.files.bounded import printable
from onelook.files.images import Image, encode_image, read_image
from onelook.reports.check_page import CaptionedImage

logger = logging.getLogger(__name__)

MAX_SUSPICION_IMAGES = 60

SIDE_PX = 240
LEAST_VIEW_PX = 48
# Size of the view relative to the boxes, so that their surroundings can be seen.
SURROUNDINGS = 2.2
_GAP_PX = 6


def suspicion_images(found: Sequence[Suspicion], scans: Scans, names: Sequence[str]) -> Iterator[CaptionedImage]:
    """Images of the first suspicions."""
    for rank, one in enumerate(found[:MAX_SUSPICION_IMAGES], start=1):
        index = scans[one.split].index
        labels = index.image_labels(one.image)
        try:
            rgb = read_image(index.paths[one.image], max_pixels=index.max_pixels)
        except DataError as problem:  # it has changed since it was read
            logger.warning("%s", problem.message)
            continue
        drawn = draw_suspicion(rgb, one, labels.boxes, labels.class_ids, names)
        file = printable(index.paths[one.image])
        caption = f"{rank}. {Path(file).name}: {suspicion_text(one, names)}"
        yield CaptionedImage(encode_image(drawn, ".jpg", quality=85), caption, file)


def draw_suspicion(
    rgb: Image, suspicion: Suspicion, boxes_xyxy: npt.NDArray[Any], class_ids: npt.NDArray[Any], names: Sequence[str]
) -> Image:
    """Two views of the same part of an image with a white gap between: with its labels, and with the detection.

    Args:
        rgb: (H, W, 3) the whole image.
        boxes_xyxy: (N, 4) all labels of the image, pixels.
        class_ids: (N,) of the labels.
    """
    left, top, right, bottom = view_of(suspicion, (rgb.shape[0], rgb.shape[1]))
    rows = np.linspace(top, bottom - 1, SIDE_PX).round().astype(int)
    columns = np.linspace(left, right - 1, SIDE_PX).round().astype(int)
    view = np.ascontiguousarray(rgb[rows][:, columns])
    scale = np.array([SIDE_PX / (right - left), SIDE_PX / (bottom - top)] * 2)
    shift = np.array([left, top, left, top])

    def placed(boxes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        result: npt.NDArray[Any] = (np.asarray(boxes, np.float64).reshape(-1, 4) - shift) * scale
        return result

    boxes = placed(boxes_xyxy)
    inside = ((boxes[:, 2:] > 0) & (boxes[:, :2] < SIDE_PX)).all(axis=1)
    labelled = draw_detections(view, boxes[inside], np.asarray(class_ids)[inside], None, names)
    seen = view
    if suspicion.seen_box is not None:
        box, score = placed(np.array(suspicion.seen_box)), np.array([suspicion.score])
        seen = draw_detections(view, box, np.array([suspicion.seen_class]), score, names)
    gap = np.full((SIDE_PX, _GAP_PX, 3), 255, np.uint8)
    return np.concatenate([labelled, gap, seen], axis=1)


def view_of(suspicion: Suspicion, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part to show, pixels; square where the image allows it."""
    boxes = np.array([box for box in (suspicion.labelled_box, suspicion.seen_box) if box is not None])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    side = max(LEAST_VIEW_PX, SURROUNDINGS * float((high - low).max()))
    centre = (low + high) / 2
    limits = np.array([size_hw[1], size_hw[0]])
    side_xy = np.minimum(side, limits)
    start = np.clip(centre - side_xy / 2, 0, limits - side_xy).astype(int)
    end = np.minimum(start + np.maximum(side_xy.astype(int), 1), limits)
    return int(start[0]), int(start[1]), int(end[0]), int(end[1])
