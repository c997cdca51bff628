"""Boxes of objects with polygons after a transformation: tighter than the moved corners of the old box."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onelook.data.augment.region import Points, half_planes


def boxes_of_polygons(points: Points, label_of: npt.NDArray[np.int64], region: Points) -> npt.NDArray[np.float64]:
    """Axis-aligned boxes around the part of each closed polygon that lies in a convex region.

    The extreme points of that part are corners of the polygon within the region, crossings of the two borders, or
    corners of the region within the polygon; all three are used.

    Args:
        points: (P, 2) x, y in output pixels, polygon after polygon.
        label_of: (P,) ascending, which polygon a point belongs to: 0, 0, 0, 1, 1, ..., none left out.
        region: (V, 2) corners of the convex region, V >= 3.

    Returns:
        (L, 4) xyxy, pixels; of no size (all zero) where nothing is in the region.
    """
    first = np.flatnonzero(np.diff(label_of, prepend=-1))
    num_labels = len(first)
    following = np.arange(1, len(points) + 1)
    following[np.append(first[1:], len(points)) - 1] = first
    ends = points[following]
    low, high = np.full((num_labels, 2), np.inf), np.full((num_labels, 2), -np.inf)

    enter, leave = _cut_edges(points, ends, half_planes(region))
    touches = enter <= leave
    steps = ends - points
    for share in (enter, leave):
        seen = (points + steps * share[:, None])[touches]
        np.minimum.at(low, label_of[touches], seen)
        np.maximum.at(high, label_of[touches], seen)

    for corner in region:
        inside = _contains(points, ends, first, corner)
        low[inside] = np.minimum(low[inside], corner)
        high[inside] = np.maximum(high[inside], corner)
    boxes: npt.NDArray[np.float64] = np.concatenate([low, high], axis=1)
    boxes[~np.isfinite(boxes).all(axis=1)] = 0
    return boxes


def _cut_edges(
    starts: Points, ends: Points, planes: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Shares (0 to 1) of each edge where it enters and leaves the half planes; enter > leave if it misses them.

    M. Cyrus, J. Beck, "Generalized two- and three-dimensional clipping", 1978.
    """
    before = starts @ planes[:, :2].T + planes[:, 2]  # (P, V)
    after = ends @ planes[:, :2].T + planes[:, 2]
    change = before - after
    crossing = before / np.where(change == 0, 1, change)
    enter = np.where(after > before, crossing, 0).max(axis=1).clip(0, None)
    leave = np.where(after < before, crossing, 1).min(axis=1).clip(None, 1)
    outside = ((before < 0) & (after < 0)).any(axis=1)
    return np.where(outside, 1.0, enter), np.where(outside, 0.0, leave)


def _contains(
    starts: Points, ends: Points, first: npt.NDArray[np.int64], corner: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """(L,) whether each polygon contains a point: a ray to the right crosses its border an odd number of times."""
    straddles = (starts[:, 1] > corner[1]) != (ends[:, 1] > corner[1])
    rise = np.where(straddles, ends[:, 1] - starts[:, 1], 1)
    x_at_height = starts[:, 0] + (corner[1] - starts[:, 1]) / rise * (ends[:, 0] - starts[:, 0])
    crossed = straddles & (x_at_height > corner[0])
    odd: npt.NDArray[np.bool_] = np.add.reduceat(crossed.astype(np.int64), first) % 2 == 1
    return odd
