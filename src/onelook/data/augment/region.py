"""The part of the output that a tile can be seen in, as a convex polygon."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from onelook.data.augment.plan import Tile
from onelook.geometry.affine import is_axis_aligned, transform_points

Points = npt.NDArray[np.float64]
EDGE_SLACK = 1e-6  # pixels: two tiles that share an edge round it alike


def visible_region(tile: Tile, output_hw: tuple[int, int]) -> Points:
    """Corners (V, 2) x, y in output pixels of the tile's window, cut to the output; V = 0 if nothing is visible.

    The corners go round so that the region lies on the side where `half_planes` are positive.
    """
    left, top, right, bottom = tile.window
    if left >= right or top >= bottom:
        return np.zeros((0, 2))
    height, width = output_hw
    if is_axis_aligned(tile.matrix):
        (gain_x, _, shift_x), (_, gain_y, shift_y), _ = tile.matrix.tolist()
        x1, x2 = sorted((gain_x * left + shift_x, gain_x * right + shift_x))
        y1, y2 = sorted((gain_y * top + shift_y, gain_y * bottom + shift_y))
        x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height)
        return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]] if x1 < x2 and y1 < y2 else np.zeros((0, 2)))
    window = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    corners = transform_points(tile.matrix, window).tolist()
    if _signed_area(corners) < 0:
        corners.reverse()
    for axis, sign, limit in ((0, 1, 0), (0, -1, -width), (1, 1, 0), (1, -1, -height)):
        corners = _cut(corners, [sign * corner[axis] - limit for corner in corners])
    return np.array(corners, np.float64).reshape(-1, 2)


def half_planes(region: Points) -> npt.NDArray[np.float64]:
    """(V, 3) rows a, b, c with a x + b y + c >= 0 for the points of a convex polygon (V, 2)."""
    step = np.roll(region, -1, axis=0) - region
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1)
    planes = np.concatenate([normal, -(normal * region).sum(axis=1, keepdims=True)], axis=1)
    proper: npt.NDArray[np.float64] = planes[np.abs(normal).max(axis=1) > 0]
    return proper


def pixel_box(region: Points) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels whose centres lie within the bounds of a region; may be empty."""
    x, y = zip(*region.tolist(), strict=True)  # plain numbers: NumPy's take five times as long
    left, top, right, bottom = (math.ceil(edge - 0.5 - EDGE_SLACK) for edge in (min(x), min(y), max(x), max(y)))
    return left, top, right, bottom


def visible_part(tile: Tile, output_hw: tuple[int, int]) -> tuple[Points, tuple[int, int, int, int]] | None:
    """The visible region of a tile and its pixel box; None if no pixel's centre lies within its bounds."""
    region = visible_region(tile, output_hw)
    if not len(region):
        return None
    box = pixel_box(region)
    return None if box[0] >= box[2] or box[1] >= box[3] else (region, box)


def pixel_mask(region: Points, box: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """(bottom - top, right - left), 255 for the pixels of the region's `pixel_box` whose centres lie in the region."""
    first, last = row_spans(region, box)
    columns = np.arange(box[0], box[2])
    inside = (columns >= first[:, None]) & (columns < last[:, None])
    mask: npt.NDArray[np.uint8] = inside.view(np.uint8) * np.uint8(255)
    return mask


def row_spans(region: Points, box: tuple[int, int, int, int]) -> tuple[Points, Points]:
    """For each row of a region's `pixel_box`, its first pixel whose centre lies in the region, and that after the last.

    Both are (bottom - top,) output columns; the second may be smaller where a row has none.
    """
    left, top, right, bottom = box
    rows = np.arange(top, bottom) + 0.5
    first, last = np.full(len(rows), float(left)), np.full(len(rows), float(right))
    for a, b, c in half_planes(region).tolist():
        rest = b * rows + c
        if a > 0:
            first = np.maximum(first, -rest / a)
        elif a < 0:
            last = np.minimum(last, -rest / a)
    return np.ceil(first - 0.5 - EDGE_SLACK), np.ceil(last - 0.5 - EDGE_SLACK)


def _cut(corners: list[list[float]], distances: list[float]) -> list[list[float]]:
    """The part of a convex polygon where the signed distance of its corners is not negative (Sutherland-Hodgman)."""
    if min(distances, default=0) >= 0:
        return corners
    kept = []
    for number, (x, y) in enumerate(corners):
        here, before = distances[number], distances[number - 1]
        if (here > 0 > before) or (here < 0 < before):
            share = here / (here - before)
            x_before, y_before = corners[number - 1]
            kept.append([x + (x_before - x) * share, y + (y_before - y) * share])
        if here >= 0:
            kept.append([x, y])
    return kept if len(kept) >= 3 else []


def _signed_area(corners: list[list[float]]) -> float:
    pairs = zip(corners, corners[1:] + corners[:1], strict=True)
    return sum(x * y_next - y * x_next for (x, y), (x_next, y_next) in pairs) / 2
