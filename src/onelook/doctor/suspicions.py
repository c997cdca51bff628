"""Labels that a detector contradicts: missing, of the wrong class, misplaced, or without an object.

In the spirit of "Confident learning: estimating uncertainty in dataset labels" (Northcutt, Jiang, Chuang 2021): how
much a contradiction counts is measured on the dataset itself. If 98 % of the detections of a class with such a score
lie on a label of the class, then one that lies on none is suspicious with 0.98. So classes that the detector knows well
count for more than those that it guesses at, whatever their scores, and all kinds of suspicions share one scale.

Letters: D detections, M labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.geometry.iou import box_iou
from onelook.structures.detections import Detections

Array = npt.NDArray[Any]

# IoU from which a detection agrees with a label, and below which it concerns no label.
SAME_IOU, APART_IOU = 0.5, 0.3
# A box this near to an edge, as a fraction of the image's side, may show a cut object.
EDGE = 0.015
# A misplaced label still touches its detection, or is at most this many of its own sides away.
TOUCHING_IOU, NEAR_SIDES = 0.1, 2.0
# Weaker suspicions are left out: the detector would be wrong as often as right.
LEAST_STRENGTH = 0.5

_BINS = 50
# The prior: as many detections, half of which agree.
_PRIOR = 2.0


@dataclass(frozen=True)
class ImageComparison:
    """An image with its labels and detections.

    Attributes:
        image: number of the image in the index of its split.
        first_label: row of its first label there.
        size_hw: height and width of the image, pixels.
        boxes_xyxy: (M, 4) labels, pixels.
        class_ids: (M,) of the labels.
        detections: detections down to a low confidence, in pixels.
    """

    split: str
    image: int
    first_label: int
    size_hw: tuple[int, int]
    boxes_xyxy: Array
    class_ids: Array
    detections: Detections


@dataclass(frozen=True)
class Suspicion:
    """A label that is probably wrong, or probably missing.

    Attributes:
        kind: `suspect-missing`, `suspect-class`, `suspect-place` or `suspect-extra`.
        strength: 0 to 1, how often the labels agree with the detector where it is as confident.
        label: row of the label in the index of the split; -1 if it is missing.
        labelled_class: class of the label; -1 if it is missing.
        labelled_box: xyxy, pixels; None if it is missing.
        seen_class: class of the detection; -1 if there is none.
        seen_box: xyxy, pixels; None if there is none.
        score: confidence of the detection, 0 to 1; 0 if there is none.
    """

    kind: str
    strength: float
    split: str
    image: int
    label: int = -1
    labelled_class: int = -1
    labelled_box: tuple[float, ...] | None = None
    seen_class: int = -1
    seen_box: tuple[float, ...] | None = None
    score: float = 0.0


def suspicions(images: Sequence[ImageComparison], num_classes: int) -> list[Suspicion]:
    """Contradictions between labels and detections of at least `LEAST_STRENGTH`, the strongest first."""
    overlaps = [box_iou(_floats(one.detections.boxes), _floats(one.boxes_xyxy)) for one in images]
    trust = _trust(images, overlaps, num_classes)
    found = [
        suspicion
        for image, iou in zip(images, overlaps, strict=True)
        for suspicion in _Contradictions(image, iou, trust).all()
        if suspicion.strength >= LEAST_STRENGTH
    ]
    return sorted(found, key=lambda one: (-one.strength, -one.score, one.split, one.image, one.label))


@dataclass(frozen=True)
class _Trust:
    """How often labels and detections agree.

    Attributes:
        labelled: (classes, 2, bins) share of the detections with such a score that lie on a label of their class;
            inside the image, and at its edge, where objects are cut and labelled inconsistently.
        found: (classes, 2) share of the labels on which a detection of their class lies.
    """

    labelled: Array
    found: Array


def _trust(images: Sequence[ImageComparison], overlaps: Sequence[Array], num_classes: int) -> _Trust:
    agreed, counts = np.zeros((num_classes, 2, _BINS)), np.zeros((num_classes, 2, _BINS))
    labels, found = np.zeros((num_classes, 2)), np.zeros((num_classes, 2))
    for image, iou in zip(images, overlaps, strict=True):
        seen = image.detections
        same = (seen.class_ids[:, None] == image.class_ids[None]) & (iou >= SAME_IOU)
        kinds = seen.class_ids, _at_edge(seen.boxes, image.size_hw), _bin_of(seen.scores)
        np.add.at(counts, kinds, 1)
        np.add.at(agreed, kinds, same.any(axis=1))
        keys = image.class_ids, _at_edge(image.boxes_xyxy, image.size_hw)
        np.add.at(labels, keys, 1)
        np.add.at(found, keys, same.any(axis=0))
    curves = [
        _rising(yes, all_) for yes, all_ in zip(agreed.reshape(-1, _BINS), counts.reshape(-1, _BINS), strict=True)
    ]
    return _Trust(np.stack(curves).reshape(agreed.shape), (found + _PRIOR / 2) / (labels + _PRIOR))


def _at_edge(boxes_xyxy: Array, size_hw: tuple[int, int]) -> Array:
    """1 for boxes that reach an edge of their image, 0 for others, (N,)."""
    height, width = size_hw
    left, top, right, bottom = _floats(boxes_xyxy).T
    margin_x, margin_y = EDGE * width, EDGE * height
    is_there = (left < margin_x) | (top < margin_y) | (right > width - margin_x) | (bottom > height - margin_y)
    edges: Array = is_there.astype(np.int64)
    return edges


def _bin_of(scores: Array) -> Array:
    bins: Array = np.minimum((np.asarray(scores, np.float64) * _BINS).astype(np.int64), _BINS - 1)
    return bins


def _rising(agreed: Array, counts: Array) -> Array:
    """Shares that agree by bin, made to rise with the score: falling neighbours are pooled.

    The pool-adjacent-violators algorithm: "An empirical distribution function for sampling with incomplete information"
    (Ayer, Brunk, Ewing, Reid, Silverman 1955).
    """
    pools: list[list[float]] = []  # agreed, counted, bins
    for yes, all_ in zip(agreed.tolist(), counts.tolist(), strict=True):
        pools.append([yes, all_, 1])
        while len(pools) > 1 and _part(pools[-2]) >= _part(pools[-1]):
            last = pools.pop()
            pools[-1] = [one + other for one, other in zip(pools[-1], last, strict=True)]
    return np.concatenate([np.full(int(pool[2]), _part(pool)) for pool in pools])


def _part(pool: Sequence[float]) -> float:
    return (pool[0] + _PRIOR / 2) / (pool[1] + _PRIOR)


class _Contradictions:
    """The contradictions between labels and detections in one image."""

    def __init__(self, image: ImageComparison, iou: Array, trust: _Trust) -> None:
        self._image, self._iou, self._trust = image, iou, trust
        seen = image.detections
        own = seen.class_ids[:, None] == image.class_ids[None]
        self._own_iou = np.where(own, iou, 0.0)
        self._agrees = self._own_iou >= SAME_IOU  # (D, M)
        self._label_edges = _at_edge(image.boxes_xyxy, image.size_hw)
        self._edges = _at_edge(seen.boxes, image.size_hw)
        self._bins = _bin_of(seen.scores)
        self._used: set[int] = set()  # detections that explain a label already

    def all(self) -> Iterable[Suspicion]:
        """All suspicions; each detection and each label is in at most one."""
        unsupported = np.flatnonzero(~self._agrees.any(axis=0)).tolist()
        explained = []
        for label in unsupported:
            reason = self._wrong_class(label) or self._touching(label)
            explained += [reason] if reason is not None else []
        done = {reason.label - self._image.first_label for reason in explained}
        for label in [label for label in unsupported if label not in done]:
            reason = self._near(label) or self._nothing_there(label)
            explained += [reason] if reason is not None else []
        return [*explained, *self._missing()]

    def _wrong_class(self, label: int) -> Suspicion | None:
        """A detection of another class lies on the label, and none of its own."""
        best = self._best((self._iou[:, label] >= SAME_IOU) & ~self._agrees.any(axis=1))
        return None if best is None else self._suspicion("suspect-class", self._both(label, best), label, best)

    def _touching(self, label: int) -> Suspicion | None:
        """A detection of its class that agrees with no label overlaps the label a little."""
        free = ~self._agrees.any(axis=1) & (self._own_iou[:, label] >= TOUCHING_IOU)
        free[list(self._used)] = False
        best = self._best(free)
        return None if best is None else self._suspicion("suspect-place", self._strength(best), label, best)

    def _near(self, label: int) -> Suspicion | None:
        """Nothing lies on the label, but near it an unlabelled detection of its class and about its size."""
        image, seen = self._image, self._image.detections
        if len(seen) == 0 or self._iou[:, label].max(initial=0.0) >= APART_IOU:
            return None
        box = image.boxes_xyxy[label]
        sides, seen_sides = box[2:] - box[:2], seen.boxes[:, 2:] - seen.boxes[:, :2]
        away = np.abs((seen.boxes[:, :2] + seen.boxes[:, 2:]) / 2 - (box[:2] + box[2:]) / 2)
        ratio = np.maximum(seen_sides, 1e-6) / np.maximum(sides, 1e-6)
        is_near = (
            (seen.class_ids == image.class_ids[label])
            & (away <= NEAR_SIDES * sides).all(axis=1)
            & (np.maximum(ratio, 1 / ratio) < 1.5).all(axis=1)
            & (self._iou.max(axis=1, initial=0.0) < APART_IOU)
        )
        is_near[list(self._used)] = False
        best = self._best(is_near)
        return None if best is None else self._suspicion("suspect-place", self._both(label, best), label, best)

    def _nothing_there(self, label: int) -> Suspicion | None:
        if self._iou[:, label].max(initial=0.0) >= APART_IOU:
            return None
        return self._suspicion("suspect-extra", self._found(label), label, None)

    def _missing(self) -> Iterable[Suspicion]:
        """Detections that lie on no label at all."""
        for number in np.flatnonzero(self._iou.max(axis=1, initial=0.0) < APART_IOU).tolist():
            if number not in self._used:
                yield self._suspicion("suspect-missing", self._strength(number), None, number)

    def _best(self, chosen: Array) -> int | None:
        """The detection with the highest score among some, (D,) bool."""
        numbers = np.flatnonzero(chosen)
        return int(numbers[np.argmax(self._image.detections.scores[numbers])]) if len(numbers) else None

    def _strength(self, detection: int) -> float:
        """How often a detection like this lies on a label of its class."""
        class_id = self._image.detections.class_ids[detection]
        return float(self._trust.labelled[class_id, self._edges[detection], self._bins[detection]])

    def _found(self, label: int) -> float:
        """How often a detection of its class lies on a label like this."""
        return float(self._trust.found[self._image.class_ids[label], self._label_edges[label]])

    def _both(self, label: int, detection: int) -> float:
        """Strength of two independent signs: a detection without a label, a label without a detection."""
        return 1 - (1 - self._strength(detection)) * (1 - self._found(label))

    def _suspicion(self, kind: str, strength: float, label: int | None, detection: int | None) -> Suspicion:
        image, seen = self._image, self._image.detections
        facts: dict[str, Any] = {}
        if label is not None:
            facts["label"] = image.first_label + label
            facts["labelled_class"] = int(image.class_ids[label])
            facts["labelled_box"] = tuple(image.boxes_xyxy[label].tolist())
        if detection is not None:
            self._used.add(detection)
            facts["seen_class"] = int(seen.class_ids[detection])
            facts["seen_box"] = tuple(seen.boxes[detection].tolist())
            facts["score"] = float(seen.scores[detection])
        return Suspicion(kind, strength, image.split, image.image, **facts)


def _floats(boxes_xyxy: Array) -> Array:
    return np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
