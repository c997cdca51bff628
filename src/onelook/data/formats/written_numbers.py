"""Numbers of labels as text: as few digits as give back the very same float32 when they are read again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from onelook.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from onelook.structures.dataset_index import DatasetIndex

Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]

_MOST_DECIMALS = 7


def boxes_xywh_px(index: DatasetIndex) -> Floats64:
    """(M, 4) left, top, width, height in pixels of all labels, rounded as far as reading them back allows."""
    sides = np.tile(sides_of_labels(index), 2)
    boxes = index.boxes.astype(np.float64)
    exact = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1) * sides

    def read(xywh: Floats64) -> Floats64:
        return np.concatenate([xywh[:, :2] + xywh[:, 2:] / 2, xywh[:, 2:]], axis=1) / sides

    return _rounded(exact, index.boxes, read)


def boxes_xyxy_px(index: DatasetIndex) -> Floats64:
    """(M, 4) corners in pixels of all labels, rounded as far as reading them back allows."""
    sides = np.tile(sides_of_labels(index), 2)
    exact = cxcywh_to_xyxy(index.boxes.astype(np.float64)) * sides
    return _rounded(exact, index.boxes, lambda xyxy: xyxy_to_cxcywh(xyxy) / sides)


def polygons_px(index: DatasetIndex) -> Floats64:
    """(P, 2) points in pixels of all polygons, rounded as far as reading them back allows."""
    sides = np.repeat(sides_of_labels(index), np.diff(index.polygon_offsets), axis=0)
    exact = index.polygon_points.astype(np.float64) * sides
    return _rounded(exact, index.polygon_points, lambda points: points / sides)


def boxes_around_polygons(index: DatasetIndex) -> tuple[npt.NDArray[np.int64], Floats64]:
    """The numbers (L,) of the labels that have a polygon, and (L, 4) cxcywh of the boxes around these."""
    labels = np.flatnonzero(np.diff(index.polygon_offsets))
    if not len(labels):
        return labels, np.zeros((0, 4))
    points, starts = index.polygon_points.astype(np.float64), index.polygon_offsets[labels]
    corners = np.concatenate([np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)], axis=1)
    return labels, xyxy_to_cxcywh(corners)


def text_of(number: float) -> str:
    """A number of pixels without a trailing `.0`.

    >>> text_of(12.0), text_of(12.25)
    ('12', '12.25')
    """
    return str(int(number)) if number.is_integer() else repr(number)


def sides_of_labels(index: DatasetIndex) -> Floats64:
    """(M, 2) width and height of the image of each label."""
    return np.repeat(index.sizes_hw[:, ::-1].astype(np.float64), np.diff(index.offsets), axis=0)


def _rounded(exact: Floats64, wanted: Floats32, read: Callable[[Floats64], Floats64]) -> Floats64:
    chosen: Floats64 = exact.copy()
    is_chosen = np.zeros(len(exact), bool)
    for decimals in range(_MOST_DECIMALS + 1):
        candidate = np.round(exact, decimals)
        fits = (read(candidate).astype(np.float32) == wanted).all(axis=1) & ~is_chosen
        chosen[fits] = candidate[fits]
        is_chosen |= fits
    chosen += 0.0  # minus zero becomes zero
    return chosen
