"""Pasting mirrored objects."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_index import make_index

from onelook.data.augment.copy_paste import draw_pastes, paste_mirrored

LEFT = (1, 0.2, 0.5, 0.2, 0.4)
LEFT_POLYGON = [[0.1, 0.3], [0.3, 0.3], [0.3, 0.7], [0.1, 0.7]]
SIZE = (50, 100)


def test_copies_that_fit_are_chosen() -> None:
    index = make_index([SIZE], [[LEFT]], polygons={0: LEFT_POLYGON})
    assert draw_pastes(np.random.default_rng(0), index, 0, 1.0) == (0,)
    assert draw_pastes(np.random.default_rng(0), index, 0, 0.0) == ()


def test_label_numbers_count_over_the_whole_data_set() -> None:
    index = make_index([SIZE, SIZE], [[LEFT, LEFT], [LEFT]], polygons={2: LEFT_POLYGON})
    assert draw_pastes(np.random.default_rng(0), index, 1, 1.0) == (2,)


@pytest.mark.parametrize(("x_right", "fits"), [(0.8, False), (0.95, True)])
def test_copies_that_would_cover_another_label_are_not(x_right: float, fits: bool) -> None:
    other = (2, x_right, 0.5, 0.2, 0.4)
    index = make_index([SIZE], [[LEFT, other]], polygons={0: LEFT_POLYGON})
    assert draw_pastes(np.random.default_rng(0), index, 0, 1.0) == ((0,) if fits else ())


def test_copies_do_not_cover_one_another() -> None:
    shifted = [[x + 0.02, y] for x, y in LEFT_POLYGON]
    index = make_index([SIZE], [[LEFT, (1, 0.22, 0.5, 0.2, 0.4)]], polygons={0: LEFT_POLYGON, 1: shifted})
    assert len(draw_pastes(np.random.default_rng(0), index, 0, 1.0)) == 1


def test_plain_boxes_are_never_pasted() -> None:
    index = make_index([SIZE], [[LEFT]])
    assert draw_pastes(np.random.default_rng(0), index, 0, 1.0) == ()


def test_pasting_copies_the_object_mirrored_with_its_black_pixels_and_nothing_else() -> None:
    index = make_index([SIZE], [[LEFT]], polygons={0: LEFT_POLYGON})
    image = np.full((*SIZE, 3), 200, np.uint8)
    image[15:35, 10:30] = 0  # a black object ...
    image[15:35, 10:15] = (255, 10, 20)  # ... with a red left edge
    before = image.copy()
    result = paste_mirrored(image, index, (0,))
    np.testing.assert_array_equal(image, before)
    assert (result[17:33, 72:84] == 0).all()
    assert (result[17:33, 86:89] == (255, 10, 20)).all()
    outside = np.ones(SIZE, bool)
    outside[14:36, 69:91] = False
    np.testing.assert_array_equal(result[outside], before[outside])
