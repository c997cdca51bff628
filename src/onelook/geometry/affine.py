"""3x3 matrices that move points of the plane; what is drawn at random, and pixels, are the business of `data/augment`.

Coordinates are continuous: pixel (row i, column j) covers [j, j + 1) x [i, i + 1), its centre is (j + 0.5, i + 0.5).
Matrices act on columns (x, y, 1), so that `a @ b` applies b first.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def translation(x: float, y: float) -> Matrix:
    """Shift by x to the right and y down."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def scaling(x: float, y: float) -> Matrix:
    """Stretch about the origin; a negative factor mirrors.

    >>> transform_points(scaling(2, -1), np.array([[3.0, 4.0]])).tolist()
    [[6.0, -4.0]]
    """
    return np.array([[x, 0, 0], [0, y, 0], [0, 0, 1]], np.float64)


def rotation(degrees: float, gain: float = 1.0) -> Matrix:
    """Turn about the origin, counter-clockwise as seen on the screen (y points down), and stretch by `gain`."""
    angle = math.radians(degrees)
    cosine, sine = gain * math.cos(angle), gain * math.sin(angle)
    return np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]], np.float64)


def shear(x_degrees: float, y_degrees: float) -> Matrix:
    """Slant: x grows by y times tan(x_degrees), y by x times tan(y_degrees)."""
    across, down = math.tan(math.radians(x_degrees)), math.tan(math.radians(y_degrees))
    return np.array([[1, across, 0], [down, 1, 0], [0, 0, 1]], np.float64)


def projection(x: float, y: float) -> Matrix:
    """Perspective about the origin: points are divided by 1 + x * their x + y * their y."""
    return np.array([[1, 0, 0], [0, 1, 0], [x, y, 1]], np.float64)


def mirror(width: float, height: float, *, left_right: bool, up_down: bool) -> Matrix:
    """Flip an image of this size onto itself.

    >>> transform_points(mirror(10, 6, left_right=True, up_down=False), np.array([[2.0, 1.0]])).tolist()
    [[8.0, 1.0]]
    """
    horizontal = (-1.0, width) if left_right else (1.0, 0.0)
    vertical = (-1.0, height) if up_down else (1.0, 0.0)
    return translation(horizontal[1], vertical[1]) @ scaling(horizontal[0], vertical[0])


def is_axis_aligned(matrix: Matrix) -> bool:
    """Whether rectangles stay axis-aligned rectangles: stretch, mirror and shift only."""
    return not (matrix[0, 1] or matrix[1, 0] or matrix[2, 0] or matrix[2, 1])


def transform_points(matrix: Matrix, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points (..., 2) moved by `matrix`; those of a projection must lie in front of its horizon."""
    moved = points @ matrix[:2, :2].T + matrix[:2, 2]
    if matrix[2, 0] or matrix[2, 1]:
        moved /= (points @ matrix[2, :2] + matrix[2, 2])[..., None]
    result: npt.NDArray[np.float64] = moved
    return result
