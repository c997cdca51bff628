"""Tiles cover the image, and what is found in them is one set: nothing twice, nothing cut, nothing lost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from onelook.inference.backend import Thresholds
from onelook.inference.tiling import Area, Tiling, detect_in_tiles, merged, tiles_of
from onelook.structures.detections import Detections

USUAL = Thresholds(0.25, iou_thres=0.45, max_det=1000)


def found(*rows: Sequence[float]) -> Detections:
    """Detections of rows x1, y1, x2, y2, score, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def boxes_of(detections: Detections) -> list[list[float]]:
    return sorted(detections.boxes.tolist())


class Eye:
    """Finds every object that can be seen, exactly: each is a rectangle of a colour of its own, (number, class, 0).

    In an image larger than `sharp` it sees nothing whose sides are below `smallest`, as a network that shrinks does.
    Parts of objects are found too, and with a higher score than whole ones: the worst case for who merges.
    """

    def __init__(self, sharp: int, smallest: int = 0) -> None:
        self.sharp = sharp
        self.smallest = smallest
        self.batches: list[int] = []

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        self.batches.append(len(images))
        return [self._in(image) for image in images]

    def _in(self, image: np.ndarray) -> Detections:
        rows = []
        for number in np.unique(image[..., 0])[1:]:
            ys, xs = np.nonzero(image[..., 0] == number)
            box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            side = max(box[2] - box[0], box[3] - box[1])
            if max(image.shape[:2]) <= self.sharp or side >= self.smallest:
                class_id = image[ys[0], xs[0], 1]
                rows.append((*box, 0.9 - 0.0001 * len(ys), class_id))
        return found(*rows)


def scene(size_hw: tuple[int, int], boxes: Sequence[Sequence[int]], class_ids: Sequence[int]) -> np.ndarray:
    image = np.zeros((*size_hw, 3), np.uint8)
    for number, (box, class_id) in enumerate(zip(boxes, class_ids, strict=True), start=1):
        left, top, right, bottom = box
        image[top:bottom, left:right] = (number, class_id, 0)
    return image


def objects(rng: np.random.Generator, size_hw: tuple[int, int], largest: int, count: int) -> list[tuple[int, ...]]:
    """Boxes with sides of 8 to `largest` pixels that do not touch each other."""
    taken, boxes = np.zeros(size_hw, bool), []
    for _ in range(20 * count):
        width, height = rng.integers(8, largest + 1, 2)
        left, top = rng.integers(0, size_hw[1] - width), rng.integers(0, size_hw[0] - height)
        place = np.s_[max(top - 2, 0) : top + height + 2, max(left - 2, 0) : left + width + 2]
        if not taken[place].any() and len(boxes) < count:
            taken[place] = True
            boxes.append((int(left), int(top), int(left + width), int(top + height)))
    return boxes


@pytest.mark.parametrize("size_hw", [(100, 100), (99, 640), (641, 300), (1000, 1777), (101, 101)])
@pytest.mark.parametrize("tiling", [Tiling(100, 0.2), Tiling(100, 0.0), Tiling(64, 0.9), Tiling(300, 0.5)])
def test_tiles_cover_the_image_and_overlap_as_much_as_asked(size_hw: tuple[int, int], tiling: Tiling) -> None:
    areas = tiles_of(size_hw, tiling)
    covered = np.zeros(size_hw, int)
    for left, top, right, bottom in areas:
        assert 0 <= left < right <= size_hw[1] and 0 <= top < bottom <= size_hw[0]
        assert right - left == min(tiling.side, size_hw[1]) and bottom - top == min(tiling.side, size_hw[0])
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1
    for axis in (0, 1):
        starts = sorted({area[axis] for area in areas})
        least = tiling.side * tiling.overlap - 1
        assert all(tiling.side - (after - before) >= least for before, after in pairwise(starts))


@pytest.mark.parametrize("seed", range(8))
def test_objects_up_to_the_overlap_are_found_once_and_whole_wherever_they_lie(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size_hw, tiling = (310, 450), Tiling(100, 0.3)
    boxes = objects(rng, size_hw, 30, 60)
    class_ids = rng.integers(1, 4, len(boxes)).tolist()
    eye = Eye(sharp=100, smallest=40)
    result = detect_in_tiles(eye, scene(size_hw, boxes, class_ids), tiling, batch_size=7, thresholds=USUAL)
    assert boxes_of(result) == sorted(list(map(float, box)) for box in boxes)
    class_of = dict(zip(boxes, class_ids, strict=True))
    assert [class_of[tuple(map(int, box))] for box in result.boxes.tolist()] == result.class_ids.tolist()
    assert (np.diff(result.scores) <= 0).all(), "highest score first"
    assert max(eye.batches) == 7 and sum(eye.batches) == 1 + len(tiles_of(size_hw, tiling))


def test_a_large_object_is_found_in_the_image_as_a_whole_and_its_parts_are_dropped() -> None:
    box = (40, 30, 410, 280)
    image = scene((310, 450), [box, (5, 5, 17, 17)], [1, 1])
    result = detect_in_tiles(Eye(100, 40), image, Tiling(100, 0.3), batch_size=8, thresholds=USUAL)
    assert boxes_of(result) == [[5, 5, 17, 17], [40, 30, 410, 280]]


def test_what_the_shrunken_image_does_not_show_the_tiles_do() -> None:
    boxes = [(10, 10, 20, 20), (95, 95, 107, 107), (200, 150, 212, 160)]
    image = scene((310, 450), boxes, [1, 1, 2])
    eye = Eye(sharp=100, smallest=40)
    assert len(eye([image])[0]) == 0
    result = detect_in_tiles(eye, image, Tiling(100, 0.3), batch_size=8, thresholds=USUAL)
    assert boxes_of(result) == [list(map(float, box)) for box in boxes]


def test_an_image_no_larger_than_a_tile_is_predicted_once() -> None:
    eye = Eye(100)
    image = scene((80, 100), [(3, 3, 15, 15)], [1])
    assert len(detect_in_tiles(eye, image, Tiling(100), batch_size=8, thresholds=USUAL)) == 1
    assert eye.batches == [1]


AREAS: list[Area] = [(0, 0, 100, 100), (80, 0, 180, 100)]


@pytest.mark.parametrize(
    ("whole", "left", "right", "expected"),
    [
        pytest.param([], [(85, 40, 95, 50, 0.5, 0)], [(5, 40, 15, 50, 0.6, 0)], [0.6], id="twice whole: the better"),
        pytest.param([], [(90, 40, 100, 50, 0.9, 0)], [(10, 40, 28, 50, 0.3, 0)], [0.3], id="whole beats cut"),
        pytest.param([], [(90, 40, 100, 50, 0.9, 0)], [(10, 40, 28, 50, 0.3, 1)], [0.9, 0.3], id="other class"),
        pytest.param([], [(90, 40, 100, 50, 0.9, 0)], [], [0.9], id="a cut one alone stays"),
        pytest.param([(20, 10, 170, 90, 0.2, 0)], [(20, 10, 100, 90, 0.9, 0)], [], [0.2], id="large beats part"),
        pytest.param([(84, 39, 99, 52, 0.9, 0)], [], [(5, 40, 15, 50, 0.4, 0)], [0.4], id="sharp beats blurred"),
        pytest.param([(30, 39, 44, 52, 0.9, 0)], [], [], [0.9], id="a blurred one alone stays"),
        pytest.param([(20, 10, 170, 90, 0.9, 0)], [(40, 40, 50, 50, 0.4, 0)], [], [0.9, 0.4], id="small within large"),
        pytest.param([], [(0, 0, 9, 9, 0.5, 0), (0, 2, 4, 6, 0.4, 0)], [], [0.5, 0.4], id="the rim cuts nothing"),
    ],
)  # fmt: skip
def test_which_of_two_detections_stays(
    whole: list[Sequence[float]], left: list[Sequence[float]], right: list[Sequence[float]], expected: list[float]
) -> None:
    parts = list(zip(AREAS, (found(*left), found(*right)), strict=True))
    result = merged(found(*whole), parts, (100, 180), tiling=Tiling(100, 0.2), thresholds=USUAL)
    assert result.scores.tolist() == pytest.approx(expected)


def test_nms_goes_across_classes_if_asked_and_no_more_are_kept_than_allowed() -> None:
    parts = list(zip(AREAS, (found((85, 40, 95, 50, 0.5, 0)), found((5, 40, 15, 50, 0.6, 1))), strict=True))
    nothing = found()
    for nms, expected in (
        (USUAL, [0.6, 0.5]),
        (Thresholds(0.0, 0.45, 1000, agnostic_nms=True), [0.6]),
        (Thresholds(0.0, 0.45, 1), [0.6]),
        (Thresholds(0.0, 1.0, 1000, agnostic_nms=True), [0.6, 0.5]),
    ):
        result = merged(nothing, parts, (100, 180), tiling=Tiling(100, 0.2), thresholds=nms)
        assert result.scores.tolist() == pytest.approx(expected)
    assert len(merged(nothing, [], (100, 180), tiling=Tiling(100), thresholds=USUAL)) == 0
