from __future__ import annotations

import numpy as np
import pytest

from onelook.metrics import matching
from onelook.metrics.matching import DetectionPairs, match_by_score, overlapping_pairs
from onelook.metrics.packing import PackedDetections, PackedLabels


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.concatenate([rng.integers(0, 10, (count, 2)), rng.integers(0, 8, (count, 2))], axis=1).astype(float)


def random_problem(key: int) -> tuple[PackedLabels, PackedDetections]:
    rng = np.random.Generator(np.random.Philox(key=key))
    labels, found = int(rng.integers(0, 30)), int(rng.integers(0, 60))
    packed = PackedLabels(
        rng.integers(0, 4, labels), rng.integers(0, 3, labels), random_boxes(rng, labels),
        rng.random(labels) < 0.2, np.ones(labels),
    )  # fmt: skip
    order = np.sort(rng.integers(0, 4, found))
    return packed, PackedDetections(order, rng.integers(0, 3, found), random_boxes(rng, found), rng.random(found))


def slow_pairs(packed: PackedLabels, found: PackedDetections, *, min_iou: float, same_class: bool) -> set:
    pairs = set()
    for d, (x, y, w, h) in enumerate(found.boxes_xywh.tolist()):
        for t, (tx, ty, tw, th) in enumerate(packed.boxes_xywh.tolist()):
            if found.image_ids[d] != packed.image_ids[t]:
                continue
            if same_class and found.class_ids[d] != packed.class_ids[t]:
                continue
            overlap = max(0, min(x + w, tx + tw) - max(x, tx)) * max(0, min(y + h, ty + th) - max(y, ty))
            whole = w * h if packed.is_crowd[t] else w * h + tw * th - overlap
            if overlap and overlap / whole >= min_iou:
                pairs.add((d, t, overlap / whole))
    return pairs


@pytest.mark.parametrize("at_a_time", [1, 50, matching.PAIRS_AT_A_TIME])
@pytest.mark.parametrize("same_class", [True, False])
def test_pairs_are_those_of_the_double_loop(at_a_time: int, same_class: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "PAIRS_AT_A_TIME", at_a_time)
    for key in range(40):
        packed, found = random_problem(key)
        pairs = overlapping_pairs(packed, found, min_iou=0.3, same_class=same_class)
        triples = list(zip(pairs.detection.tolist(), pairs.label.tolist(), pairs.iou.tolist(), strict=True))
        assert set(triples) == slow_pairs(packed, found, min_iou=0.3, same_class=same_class)
        assert len(set(triples)) == len(triples)
        assert (np.diff(pairs.detection) >= 0).all()


def slow_match(pairs: DetectionPairs, num_detections: int) -> list[bool]:
    taken: set[int] = set()
    won = []
    for detection in range(num_detections):
        rows = np.flatnonzero(pairs.detection == detection)
        free = [row for row in rows.tolist() if int(pairs.label[row]) not in taken]
        best = max(free, key=lambda row: (pairs.iou[row], pairs.label[row]), default=None)
        if best is not None:
            taken.add(int(pairs.label[best]))
        won.append(best is not None)
    return won


def test_match_is_that_of_the_loop_over_detections() -> None:
    rng = np.random.Generator(np.random.Philox(key=3))
    for _ in range(300):
        num_detections, num_labels = int(rng.integers(0, 20)), int(rng.integers(1, 8))
        detection, label = np.nonzero(rng.random((num_detections, num_labels)) < rng.random())
        pairs = DetectionPairs(detection, label, rng.integers(5, 10, len(label)) / 10)
        won = match_by_score(pairs, num_detections=num_detections, num_labels=num_labels)
        assert won.tolist() == slow_match(pairs, num_detections)


def test_a_detection_that_loses_its_best_label_takes_its_next_best() -> None:
    pairs = DetectionPairs(np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([0.6, 0.9, 0.5]))
    assert match_by_score(pairs, num_detections=3, num_labels=2).tolist() == [True, True, False]


def test_no_pairs_at_all_match_nothing() -> None:
    none = np.zeros(0, np.int64)
    packed = PackedLabels(none, none, np.zeros((0, 4)), none.astype(bool), np.zeros(0))
    found = PackedDetections(none, none, np.zeros((0, 4)), np.zeros(0))
    pairs = overlapping_pairs(packed, found, min_iou=0.5, same_class=True)
    assert match_by_score(pairs, num_detections=0, num_labels=0).tolist() == []
