"""Boxes and labels on an image, quick enough for every frame of a video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.drawing.lettering import paste_patch, shown_name, text_patch
from onelook.drawing.palette import RGB, class_colour, text_colour

MIN_FONT_PX = 14


def draw_detections(
    image_rgb: npt.NDArray[np.uint8],
    boxes_xyxy: npt.NDArray[Any],
    class_ids: npt.NDArray[Any],
    scores: npt.NDArray[Any] | None,
    names: Sequence[str],
    *,
    object_ids: npt.NDArray[Any] | None = None,
    line_thickness: int | None = None,
    hide_labels: bool = False,
    hide_conf: bool = False,
) -> npt.NDArray[np.uint8]:
    """A copy of the image with boxes, class names and scores.

    The most confident box is drawn last, so on top; without scores the smallest is. Labels stand above their box
    where there is room, else inside, and always whole within the image.

    Args:
        image_rgb: (H, W, 3) uint8 RGB; not changed.
        boxes_xyxy: (N, 4) pixels.
        class_ids: (N,) integers.
        scores: (N,) 0 to 1, or None for labels.
        names: class names; an id beyond them is written `class 7`.
        object_ids: (N,) of objects that are followed through a video, written as `#7`.
        line_thickness: line width of the boxes, pixels; None takes one that suits the image.
        hide_labels: boxes only.
        hide_conf: names without scores.

    Returns:
        (H, W, 3) uint8 RGB, new.

    >>> grey = np.full((60, 80, 3), 128, np.uint8)
    >>> drawn = draw_detections(grey, np.array([[10, 30, 50, 50]]), np.array([0]), np.array([0.9]), ["bee"])
    >>> drawn.shape, bool((drawn != grey).any())
    ((60, 80, 3), True)
    """
    canvas = np.array(image_rgb, dtype=np.uint8, order="C", copy=True)
    height, width = canvas.shape[:2]
    mean_side = (height + width) / 2
    thickness = math.ceil(mean_side / 300) if line_thickness is None else max(1, line_thickness)  # 5 at full HD
    font_px = max(MIN_FONT_PX, round(mean_side * 0.02))  # 30 at full HD
    # Half a line is kept free at the border, so that a box along the edge is seen whole.
    inset = thickness // 2
    limit = np.array([width, height, width, height]) - 1 - inset
    corners = np.rint(np.clip(np.asarray(boxes_xyxy, np.float64).reshape(-1, 4), inset, np.maximum(limit, inset)))
    corners = corners.astype(np.int64)
    order = np.argsort(-(corners[:, 2:] - corners[:, :2]).prod(axis=1) if scores is None else scores, kind="stable")
    for row in order:
        _draw_frame(canvas, corners[row].tolist(), class_colour(int(class_ids[row])), thickness=thickness)
    for row in order[:0] if hide_labels else order:  # labels last, so that no line crosses one
        left, top = corners[row, :2].tolist()
        class_id = int(class_ids[row])
        colour = class_colour(class_id)
        words = [shown_name(names, class_id), *([] if object_ids is None else [f"#{int(object_ids[row])}"])]
        if scores is not None and not hide_conf:
            words.append(f"{float(scores[row]):.2f}")
        patch = text_patch(words, font_px, ink=text_colour(colour), paper=colour)
        above = top - inset - patch.shape[0]
        paste_patch(canvas, patch, left=left - inset, top=above if above >= 0 else top - inset)
    return canvas


def _draw_frame(
    canvas: npt.NDArray[np.uint8], corners: tuple[int, int, int, int], colour: RGB, *, thickness: int
) -> None:
    """Four crisp lines centred on the box; cv2.rectangle blurs edges, and its thickness varies by version."""
    before, after = thickness // 2, thickness - thickness // 2
    left, top, right, bottom = corners
    x0, x1, y0, y1 = max(left - before, 0), right + after, max(top - before, 0), bottom + after
    canvas[y0 : top + after, x0:x1] = colour
    canvas[bottom - before : y1, x0:x1] = colour
    canvas[y0:y1, x0 : left + after] = colour
    canvas[y0:y1, right - before : x1] = colour
