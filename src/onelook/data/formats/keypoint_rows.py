"""Rows of YOLO's pose files, a box followed by keypoints: they can be read as polygons, which they are not."""

from __future__ import annotations

import numpy as np

from onelook.data.formats.row_rules import TOLERANCE, Values

# Of the keypoints of an object nearly all lie in its box, and mostly they span it. The polygon of an object that
# happens to start like a box rarely does both; and it never leaps, as from the size of a box to a keypoint.
MOST_INSIDE = 0.8
LEAST_SPAN = 0.5
LEAP = 2.0
_VISIBILITIES = (0.0, 1.0, 2.0)


def may_be_keypoints(written: Values) -> bool:
    """Whether the coordinates of a polygon, (2 P,) with P at least 3, may rather be a box and keypoints."""
    centre, size = written[:2], written[2:4]
    is_box = size.min() > 0 and (centre - size / 2).min() >= -TOLERANCE and (centre + size / 2).max() <= 1 + TOLERANCE
    return bool(is_box) and any(_are_keypoints(written, num_columns) for num_columns in (2, 3))


def _are_keypoints(written: Values, num_columns: int) -> bool:
    """Whether what follows the box are keypoints of two or three columns each, the third being visibility."""
    centre, size, rest = written[:2], written[2:4], written[4:]
    if len(rest) % num_columns:
        return False
    table = rest.reshape(-1, num_columns)
    if num_columns == 3 and not np.isin(table[:, 2], _VISIBILITIES).all():
        return False
    points = table[:, :2][table[:, :2].any(axis=1)]  # (0, 0) stands for a keypoint that cannot be seen
    if not len(points):
        return False
    is_inside = (np.abs(points - centre) <= size / 2 + TOLERANCE).all(axis=1)
    if is_inside.mean() < MOST_INSIDE:
        return False
    span = (np.ptp(points, axis=0) / size).min()
    middle = points.mean(axis=0)
    reach = np.linalg.norm(points - middle, axis=1).max()
    leaps = len(points) > 2 and np.linalg.norm(size - middle) > LEAP * reach
    return bool(len(points) == 1 or span >= LEAST_SPAN or leaps)
