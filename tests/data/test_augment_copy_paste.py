"""Pasting mirrored objects."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_index import make_index

from onelook.data.augment.copy_paste import Paste, draw_pastes

LEFT = (1, 0.2, 0.5, 0.2, 0.4)
LEFT_POLYGON = [[0.1, 0.3], [0.3, 0.3], [0.3, 0.7], [0.1, 0.7]]
SIZE = (50, 100)


def test_copies_that_fit_are_chosen() -> None:
    index = make_index([SIZE], [[LEFT]], polygons={0: LEFT_POLYGON})
    assert draw_pastes(np.random.default_rng(0), index, 0, 1.0) == (0,)
    assert draw_pastes(np.random.default_rng(0), index, 0, 0.0) == ()


def test_label_numbers_count_over_the_whole_dataset() -> None:
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
    result = Paste((0,)).pixels(image, index)
    np.testing.assert_array_equal(image, before)
    assert (result[17:33, 72:84] == 0).all()
    assert (result[17:33, 86:89] == (255, 10, 20)).all()
    outside = np.ones(SIZE, bool)
    outside[14:36, 69:91] = False
    np.testing.assert_array_equal(result[outside], before[outside])


def labels_of(count: int, largest: float, key: int) -> list[tuple[float, ...]]:
    rng = np.random.Generator(np.random.Philox(key=key))
    return [(0, *rng.uniform(0, 1, 2), *rng.uniform(largest / 10, largest, 2)) for _ in range(count)]


@pytest.mark.parametrize(("count", "largest"), [(1, 0.5), (40, 0.9), (200, 0.2), (400, 0.05), (300, 0.004)])
def test_chosen_copies_are_those_of_the_rule_applied_to_every_pair(count: int, largest: float) -> None:
    labels = labels_of(count, largest, key=count)
    polygons = {number: [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]] for number in range(count)}
    index = make_index([(100, 100)], [labels], polygons=polygons)
    wanted = np.random.Generator(np.random.Philox(key=1)).permutation(np.arange(count))
    centres, sizes = index.boxes[:, :2].astype(np.float64), index.boxes[:, 2:].astype(np.float64)
    present = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    copies = present[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (1, 0, 1, 0)
    expected = []
    for label in wanted.tolist():
        overlap = np.minimum(present[:, 2:], copies[label, 2:]) - np.maximum(present[:, :2], copies[label, :2])
        areas = (present[:, 2:] - present[:, :2]).prod(axis=1)
        if (overlap.clip(0).prod(axis=1) / areas < 0.3).all():
            expected.append(label)
            present = np.concatenate([present, copies[[label]]])
    rng = np.random.Generator(np.random.Philox(key=1))
    assert draw_pastes(rng, index, 0, 1.0) == tuple(expected)
