"""The boxes of a plan: what is left of the labels of every tile."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onelook.data.augment.copy_paste import mirrored
from onelook.data.augment.plan import AugmentPlan, Tile
from onelook.data.augment.polygons import boxes_of_polygons
from onelook.data.augment.region import visible_region
from onelook.geometry.affine import transform_boxes, transform_points
from onelook.geometry.boxes import clip_xyxy, cxcywh_to_xyxy
from onelook.structures.dataset_index import DatasetIndex

MIN_SIDE_PX = 2.0
MAX_ASPECT = 100.0
MIN_AREA_KEPT = 0.10
MIN_AREA_KEPT_WITH_POLYGON = 0.01

Boxes = npt.NDArray[np.float64]


def labels_of_plan(index: DatasetIndex, plan: AugmentPlan) -> tuple[Boxes, npt.NDArray[np.int64]]:
    """Boxes (N, 4) xyxy in output pixels, all inside and not empty, and class ids (N,) of a training image."""
    found = [(np.zeros((0, 4)), np.zeros(0, np.int64))]  # for a plan without tiles
    found += [_labels_of_tile(index, tile, plan.output_hw) for tile in (*plan.tiles, *plan.partner)]
    return np.concatenate([boxes for boxes, _ in found]), np.concatenate([class_ids for _, class_ids in found])


def is_worth_keeping(before_wh: Boxes, after_wh: Boxes, min_area_kept: Boxes) -> npt.NDArray[np.bool_]:
    """(N,) whether a box that was cut is still a fair label.

    It must be more than 2 pixels wide and high, keep more than `min_area_kept` of its area and be less than 100
    times as long as wide.

    Args:
        before_wh: (N, 2) width and height before the cut, at the scale of the output, pixels.
        after_wh: (N, 2) width and height after the cut, pixels.
        min_area_kept: (N,) fraction.
    """
    long, short = after_wh.max(axis=1), after_wh.min(axis=1)
    kept = after_wh.prod(axis=1) / (before_wh.prod(axis=1) + 1e-16)
    result: npt.NDArray[np.bool_] = (short > MIN_SIDE_PX) & (kept > min_area_kept) & (long < MAX_ASPECT * short)
    return result


def _labels_of_tile(index: DatasetIndex, tile: Tile, output_hw: tuple[int, int]) -> tuple[Boxes, npt.NDArray[np.int64]]:
    rows = index.labels_of(tile.source)
    labels = np.concatenate([np.arange(rows.start, rows.stop), np.array(tile.pasted, np.int64)])
    boxes = cxcywh_to_xyxy(index.boxes[labels].astype(np.float64))
    num_own = rows.stop - rows.start
    boxes[num_own:] = mirrored(boxes[num_own:])
    seen = np.clip(boxes, np.tile(tile.window[:2], 2), np.tile(tile.window[2:], 2))
    after = transform_boxes(tile.matrix, seen)
    min_kept = np.full(len(labels), MIN_AREA_KEPT)
    region = visible_region(tile, output_hw) if len(index.polygon_points) else None
    if region is not None and len(region):
        _tighten(index, tile, region, labels=labels, boxes=after, min_kept=min_kept)
    after = clip_xyxy(after, output_hw[1], output_hw[0])
    keep = is_worth_keeping((seen[:, 2:] - seen[:, :2]) * tile.extent_wh, after[:, 2:] - after[:, :2], min_kept)
    return after[keep], index.class_ids[labels[keep]]


def _tighten(
    index: DatasetIndex,
    tile: Tile,
    region: Boxes,
    *,
    labels: npt.NDArray[np.int64],
    boxes: Boxes,
    min_kept: npt.NDArray[np.float64],
) -> None:
    """Replace the boxes of labels with polygons, in place, by those of their polygons."""
    starts = index.polygon_offsets[labels]
    counts = index.polygon_offsets[labels + 1] - starts
    with_polygon = np.flatnonzero(counts)
    if not len(with_polygon):
        return
    starts, counts = starts[with_polygon], counts[with_polygon]
    label_of = np.repeat(np.arange(len(with_polygon)), counts)
    within = np.arange(len(label_of)) - np.repeat(np.cumsum(counts) - counts, counts)
    points = index.polygon_points[starts[label_of] + within].astype(np.float64)
    num_own = len(labels) - len(tile.pasted)
    is_pasted = (with_polygon >= num_own)[label_of]
    points[is_pasted, 0] = 1 - points[is_pasted, 0]
    boxes[with_polygon] = boxes_of_polygons(transform_points(tile.matrix, points), label_of, region)
    min_kept[with_polygon] = MIN_AREA_KEPT_WITH_POLYGON
