"""The boxes of training images: what is left of the labels of every tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onelook.data.augment.plan import AugmentPlan, Boxes, ClassIds, Tile, TileLabels
from onelook.data.augment.polygons import boxes_of_polygons
from onelook.data.augment.region import visible_region
from onelook.geometry.affine import transform_points
from onelook.geometry.boxes import clip_xyxy, cxcywh_to_xyxy
from onelook.structures.dataset_index import DatasetIndex

MIN_SIDE_PX = 2.0
MAX_ASPECT = 100.0
MIN_AREA_KEPT = 0.10
MIN_AREA_KEPT_WITH_POLYGON = 0.01
CORNERS = [0, 1, 2, 1, 2, 3, 0, 3]  # x, y of the four corners of a box xyxy


def labels_of_plan(index: DatasetIndex, plan: AugmentPlan) -> tuple[Boxes, ClassIds]:
    """Boxes (N, 4) xyxy in output pixels, all inside and not empty, and class ids (N,) of a training image."""
    return labels_of_plans(index, [plan])[0]


def labels_of_plans(index: DatasetIndex, plans: Sequence[AugmentPlan]) -> list[tuple[Boxes, ClassIds]]:
    """As `labels_of_plan`, of several images of one size at once, which takes a fraction of the time."""
    tiles = [tile for plan in plans for tile in (*plan.tiles, *plan.partner)]
    if not tiles:  # none of their images could be read
        return [(np.zeros((0, 4)), np.zeros(0, np.int64)) for _ in plans]
    labels, counts = _labels_before(index, tiles)
    boxes, keep = _moved(labels, counts, tiles, plans[0].output_hw)
    ends = np.cumsum([len(plan.tiles) + len(plan.partner) for plan in plans])
    # of the labels that are kept, where those of each image end
    last = np.concatenate([[0], np.cumsum(keep)])[np.concatenate([[0], np.cumsum(counts)])[ends]]
    return list(zip(np.split(boxes[keep], last[:-1]), np.split(labels.class_ids[keep], last[:-1]), strict=True))


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


def _labels_before(index: DatasetIndex, tiles: Sequence[Tile]) -> tuple[TileLabels, npt.NDArray[np.int64]]:
    """The labels of all tiles before they are moved, changes done; and how many each tile has."""
    if not any(tile.changes for tile in tiles):
        return _labels_of_images(index, np.array([tile.source for tile in tiles]))
    parts = []
    for tile in tiles:
        labels, _ = _labels_of_images(index, np.array([tile.source]))
        for change in tile.changes:
            labels = change.labels(labels, index)
        parts.append(labels)
    whole = TileLabels(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    return whole, np.array([len(part.class_ids) for part in parts])


def _labels_of_images(index: DatasetIndex, images: npt.NDArray[np.int64]) -> tuple[TileLabels, npt.NDArray[np.int64]]:
    rows, counts = _ranges(index.offsets, images)
    points, num_points = _ranges(index.polygon_offsets, rows)
    labels = TileLabels(
        boxes=cxcywh_to_xyxy(index.boxes[rows].astype(np.float64)),
        class_ids=index.class_ids[rows],
        num_points=num_points,
        points=index.polygon_points[points].astype(np.float64),
    )
    return labels, counts


def _ranges(
    offsets: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All rows from offsets[n] to offsets[n + 1], for one n after the other; and how many rows each has."""
    starts = offsets[numbers]
    counts = offsets[numbers + 1] - starts
    ends = np.cumsum(counts)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    return np.repeat(starts, counts) + within, counts


def _moved(
    labels: TileLabels, counts: npt.NDArray[np.int64], tiles: Sequence[Tile], output_hw: tuple[int, int]
) -> tuple[Boxes, npt.NDArray[np.bool_]]:
    """Boxes (L, 4) in output pixels, cut to their windows and to the output, and whether each is worth keeping."""
    tile_of = np.repeat(np.arange(len(tiles)), counts)
    windows = np.array([tile.window for tile in tiles])[tile_of]
    seen = np.clip(labels.boxes, windows[:, [0, 1, 0, 1]], windows[:, [2, 3, 2, 3]])
    matrices = np.array([tile.matrix for tile in tiles])[tile_of]
    corners = seen[:, CORNERS].reshape(-1, 4, 2)
    moved = corners @ matrices[:, :2, :2].transpose(0, 2, 1) + matrices[:, None, :2, 2]
    moved /= corners @ matrices[:, 2, :2, None] + matrices[:, 2:, 2:]  # by 1, without perspective
    after = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)
    min_kept = np.full(len(after), MIN_AREA_KEPT)
    if len(labels.points):
        _tighten(labels, counts, tiles, output_hw, boxes=after, min_kept=min_kept)
    after = clip_xyxy(after, output_hw[1], output_hw[0])
    before_wh = (seen[:, 2:] - seen[:, :2]) * np.array([tile.extent_wh for tile in tiles])[tile_of]
    return after, is_worth_keeping(before_wh, after[:, 2:] - after[:, :2], min_kept)


def _tighten(
    labels: TileLabels,
    counts: npt.NDArray[np.int64],
    tiles: Sequence[Tile],
    output_hw: tuple[int, int],
    *,
    boxes: Boxes,
    min_kept: npt.NDArray[np.float64],
) -> None:
    """Replace the boxes of labels with polygons, in place, by those of their polygons."""
    ends = np.cumsum(counts)
    point_ends = np.concatenate([[0], np.cumsum(labels.num_points)])
    for tile, start, end in zip(tiles, (ends - counts).tolist(), ends.tolist(), strict=True):
        with_polygon = start + np.flatnonzero(labels.num_points[start:end])
        region = visible_region(tile, output_hw) if len(with_polygon) else ()
        if not len(region):
            continue
        label_of = np.repeat(np.arange(len(with_polygon)), labels.num_points[with_polygon])
        points = transform_points(tile.matrix, labels.points[point_ends[start] : point_ends[end]])
        boxes[with_polygon] = boxes_of_polygons(points, label_of, np.asarray(region))
        min_kept[with_polygon] = MIN_AREA_KEPT_WITH_POLYGON
