"""Labels and detections of many images as a few flat arrays, checked once; what all metrics work on.

Letters: N images, M labels, D detections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from onelook.errors import DataError, NumericsError
from onelook.geometry.boxes import xyxy_to_xywh
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PackedLabels:
    """All labels, image by image.

    Attributes:
        image_ids: (M,) position of the image.
        boxes_xywh: (M, 4) pixels.
        is_crowd: (M,).
        areas: (M,) square pixels.
    """

    image_ids: Ints
    class_ids: Ints
    boxes_xywh: Floats
    is_crowd: Flags
    areas: Floats


class PackedDetections(NamedTuple):
    """All detections, image by image, in the order given; attributes as in `PackedLabels`, scores (D,) 0 to 1."""

    image_ids: Ints
    class_ids: Ints
    boxes_xywh: Floats
    scores: Floats

    def rows(self, index: npt.NDArray[Any]) -> PackedDetections:
        """The detections that `index` (positions or flags) names, in that order."""
        return PackedDetections(*(column[index] for column in self))


def pack_labels(labels: Sequence[ImageLabels], *, num_classes: int) -> PackedLabels:
    """The labels of all images.

    Raises:
        DataError: a class id is not below `num_classes`.
        NumericsError: a box is not finite.
    """
    image_ids, class_ids, boxes = _pack([one.class_ids for one in labels], [one.boxes for one in labels])
    _check(class_ids, boxes, image_ids, num_classes=num_classes, what="label")
    boxes_xywh = xyxy_to_xywh(boxes)
    crowd = [np.zeros(len(one.class_ids), np.bool_) if one.is_crowd is None else one.is_crowd for one in labels]
    areas = boxes_xywh[:, 2] * boxes_xywh[:, 3]
    given = [one.areas for one in labels]
    if any(area is not None for area in given):
        computed = np.split(areas, np.cumsum([len(one.class_ids) for one in labels])[:-1])
        areas = np.concatenate([own if area is None else area for own, area in zip(computed, given, strict=True)])
    return PackedLabels(image_ids, class_ids, boxes_xywh, _join(crowd, np.bool_), areas.astype(np.float64))


def pack_detections(detections: Sequence[Detections], *, num_classes: int) -> PackedDetections:
    """The detections of all images.

    Raises:
        DataError: a class id is not below `num_classes`.
        NumericsError: a box or a score is not finite.
    """
    image_ids, class_ids, boxes = _pack([d.class_ids for d in detections], [d.boxes for d in detections])
    scores = _join([d.scores for d in detections], np.float64)
    _check(class_ids, boxes, image_ids, num_classes=num_classes, what="detection")
    if not np.isfinite(scores).all():
        image = image_ids[np.argmin(np.isfinite(scores))]
        raise NumericsError(f"a detection in image number {image} has a score that is not finite")
    return PackedDetections(image_ids, class_ids, xyxy_to_xywh(boxes), scores)


def _pack(class_ids: list[npt.NDArray[Any]], boxes: list[npt.NDArray[Any]]) -> tuple[Ints, Ints, Floats]:
    counts = np.array([len(ids) for ids in class_ids], np.int64)
    image_ids = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return image_ids, _join(class_ids, np.int64), _join(boxes, np.float64).reshape(-1, 4)


def _join(arrays: list[Any], dtype: Any) -> npt.NDArray[Any]:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype)


def _check(class_ids: Ints, boxes: Floats, image_ids: Ints, *, num_classes: int, what: str) -> None:
    bad = (class_ids < 0) | (class_ids >= num_classes)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"a {what} in image number {image_ids[row]} has class id {class_ids[row]}; there are {num_classes} classes",
            hint="class ids count from 0",
        )
    finite = np.isfinite(boxes).all(axis=1)
    if not finite.all():
        raise NumericsError(f"a {what} in image number {image_ids[np.argmin(finite)]} has a box that is not finite")
