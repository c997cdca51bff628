"""Final boxes of one image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image, highest score first.

    Attributes:
        boxes: (N, 4) float32 xyxy, pixels of the original image.
        scores: (N,) float32, 0 to 1.
        object_ids: (N,) int64 from 1 on, the same for one object in all frames of a video; None if it is not followed.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int64]
    object_ids: npt.NDArray[np.int64] | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def empty() -> Detections:
        """No boxes at all."""
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def rows_of(detections: Detections) -> list[tuple[Any, float, int, int | None]]:
    """A list of the corners, score, class id and object id of each detection, as plain values."""
    ids = [None] * len(detections) if detections.object_ids is None else detections.object_ids.tolist()
    columns = detections.boxes.tolist(), detections.scores.tolist(), detections.class_ids.tolist(), ids
    return list(zip(*columns, strict=True))


def chosen(detections: Detections, keep: npt.NDArray[np.bool_]) -> Detections:
    """Those of the detections that are kept, (N,) bool."""
    ids = None if detections.object_ids is None else detections.object_ids[keep]
    boxes, scores = detections.boxes[keep], detections.scores[keep]
    return replace(detections, boxes=boxes, scores=scores, class_ids=detections.class_ids[keep], object_ids=ids)
