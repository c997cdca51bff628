"""Boxes of clipped polygons against many points of the borders."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.path import Path as Polygon

from onelook.data.augment.polygons import boxes_of_polygons

SQUARE = np.array([[0.0, 0.0], [10, 0], [10, 10], [0, 10]])
U_SHAPE = np.array([[1.0, -5], [3, -5], [3, 6], [7, 6], [7, -5], [9, -5], [9, 8], [1, 8]])
SHARES = np.linspace(0, 1, 2001)[:, None]


def border(polygon: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.concatenate([a + (b - a) * SHARES for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True)])


def box_by_points(polygon: npt.NDArray[np.float64], region: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Many points of both borders, those that lie in the other shape: the extreme ones are among them."""
    of_polygon, of_region = border(polygon), border(region)
    inside = np.concatenate(
        [
            of_polygon[Polygon(region).contains_points(of_polygon)],
            of_region[Polygon(polygon).contains_points(of_region)],
        ]
    )
    return np.concatenate([inside.min(axis=0), inside.max(axis=0)]) if len(inside) else np.zeros(4)


@pytest.mark.parametrize("seed", range(12))
def test_random_polygons_have_the_box_that_many_points_of_the_borders_have(seed: int) -> None:
    rng = np.random.default_rng(seed)
    polygons = [rng.uniform(-6, 16, (count, 2)) for count in (3, 4, 7)] + [U_SHAPE + rng.uniform(-3, 3, 2)]
    region = SQUARE if seed % 2 else np.array([[5.0, 0], [10, 4], [6, 10], [0, 5]])
    label_of = np.repeat(np.arange(len(polygons)), [len(polygon) for polygon in polygons])
    found = boxes_of_polygons(np.concatenate(polygons), label_of, region)
    for box, polygon in zip(found, polygons, strict=True):
        np.testing.assert_allclose(box, box_by_points(polygon, region), atol=0.03)


def test_polygon_around_the_whole_region_gives_the_region() -> None:
    huge = np.array([[-50.0, -50], [60, -50], [60, 60], [-50, 60]])
    np.testing.assert_allclose(boxes_of_polygons(huge, np.zeros(4, int), SQUARE), [[0, 0, 10, 10]])


def test_polygon_outside_gives_an_empty_box_and_others_keep_theirs() -> None:
    points = np.concatenate([SQUARE + 20, SQUARE * 0.2 + 3])
    found = boxes_of_polygons(points, np.repeat([0, 1], 4), SQUARE)
    np.testing.assert_allclose(found, [[0, 0, 0, 0], [3, 3, 5, 5]])


def test_prongs_beyond_a_cut_do_not_stretch_the_box_of_what_is_left() -> None:
    region = np.array([[0.0, 0], [5, 0], [5, 5], [0, 5]])  # cuts the right prong and the bottom away
    np.testing.assert_allclose(boxes_of_polygons(U_SHAPE, np.zeros(8, int), region), [[1, 0, 3, 5]])
