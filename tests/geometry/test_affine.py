"""Matrices against arithmetic done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from onelook.geometry.affine import (
    is_axis_aligned,
    mirror,
    projection,
    rotation,
    scaling,
    shear,
    transform_points,
    translation,
)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (translation(3, -2), (5, 1)),
        (scaling(2, -1), (4, -3)),
        (rotation(90), (3, -2)),
        (rotation(90, gain=2), (6, -4)),
        (shear(45, 0), (5, 3)),
        (shear(0, 45), (2, 5)),
        (projection(0.5, 0), (1, 1.5)),
        (projection(0, 1 / 3), (1, 1.5)),
        (mirror(10, 8, left_right=True, up_down=False), (8, 3)),
        (mirror(10, 8, left_right=False, up_down=True), (2, 5)),
        (mirror(10, 8, left_right=False, up_down=False), (2, 3)),
    ],
)
def test_matrices_move_the_point_2_3_as_their_names_say(matrix: np.ndarray, expected: tuple[float, float]) -> None:
    np.testing.assert_allclose(transform_points(matrix, np.array([[2.0, 3.0]])), [expected], atol=1e-12)


def test_rotation_is_counter_clockwise_on_the_screen() -> None:
    right = transform_points(rotation(30), np.array([[1.0, 0.0]]))[0]
    assert right[1] < 0  # y points down, so up is negative


def test_product_applies_the_right_factor_first() -> None:
    moved = transform_points(scaling(2, 2) @ translation(1, 0), np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(moved, [[4, 2]])


@pytest.mark.parametrize(
    ("matrix", "is_aligned"),
    [
        (scaling(-2, 3) @ translation(1, 1), True),
        (rotation(1), False),
        (shear(1, 0), False),
        (projection(1e-4, 0), False),
    ],
)
def test_only_stretch_mirror_and_shift_are_axis_aligned(matrix: np.ndarray, is_aligned: bool) -> None:
    assert is_axis_aligned(matrix) is is_aligned
