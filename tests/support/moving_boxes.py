"""Boxes that move through a video, what a detector would find of them, and a count of the ids that change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onelook.structures.detections import Detections

WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True)
class MovingBox:
    """A box of constant speed that bounces off the borders; `depth` says who hides whom."""

    x: float
    y: float
    speed_x: float
    speed_y: float
    width: float
    height: float
    depth: int

    def at(self, frame: int) -> list[float]:
        x = _bounced(self.x + self.speed_x * frame, self.width / 2, WIDTH - self.width / 2)
        y = _bounced(self.y + self.speed_y * frame, self.height / 2, HEIGHT - self.height / 2)
        return [x - self.width / 2, y - self.height / 2, x + self.width / 2, y + self.height / 2]


def _bounced(value: float, low: float, high: float) -> float:
    span = high - low
    place = (value - low) % (2 * span)
    return low + (place if place <= span else 2 * span - place)


def easy_scene() -> list[MovingBox]:
    """Six boxes in lanes, which never touch."""
    return [MovingBox(60 + 30 * lane, 40 + 78 * lane, 2 + lane / 2, 0, 50, 60, lane) for lane in range(6)]


def hard_scene(count: int, seed: int) -> list[MovingBox]:
    """Boxes that cross each other's way at all angles."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    return [
        MovingBox(*rng.uniform([60, 60], [580, 420]), *rng.uniform(-4, 4, 2), *rng.uniform(40, 80, 2), depth)
        for depth in range(count)
    ]


def seen(scene: Sequence[MovingBox], frame: int, rng: np.random.Generator) -> tuple[Detections, npt.NDArray[np.int64]]:
    """Detections of a frame, with noise, and the number of the box that each is of.

    A box of which less than 30 % can be seen is missed, one of which less than 70 % can has a low score. One in fifty
    is missed for no reason.
    """
    boxes = np.array([box.at(frame) for box in scene])
    rows, scores, numbers = [], [], []
    for number, box in enumerate(scene):
        visible = _visible_share(boxes, number, box.depth, [other.depth for other in scene])
        if visible < 0.3 or rng.random() < 0.02:
            continue
        rows.append(boxes[number] + rng.normal(0, 1, 4))
        scores.append(0.85 if visible > 0.7 else 0.15)
        numbers.append(number)
    order = np.argsort(-np.array(scores), kind="stable")
    found = Detections(
        np.array(rows, np.float32).reshape(-1, 4)[order],
        np.array(scores, np.float32)[order],
        np.zeros(len(order), np.int64),
    )
    return found, np.array(numbers, np.int64)[order]


def _visible_share(boxes: npt.NDArray[np.float64], number: int, depth: int, depths: Sequence[int]) -> float:
    left, top, right, bottom = boxes[number]
    x, y = np.meshgrid(np.linspace(left, right, 12), np.linspace(top, bottom, 12))
    hidden = np.zeros(x.shape, bool)
    for other, other_depth in enumerate(depths):
        if other_depth > depth:
            x0, y0, x1, y1 = boxes[other]
            hidden |= (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    return 1 - float(hidden.mean())


class SwitchCount:
    """Counts how often a box is seen with another id than when it was last seen, as CLEAR MOT does."""

    def __init__(self) -> None:
        self.switches = 0
        self.ids: set[int] = set()
        self._last: dict[int, int] = {}

    def add(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Add a frame: (number of a box, id that it has)."""
        for box, object_id in pairs:
            self.switches += self._last.get(box, object_id) != object_id
            self._last[box] = object_id
            self.ids.add(object_id)
