"""Published check values: 4 labels, 5 detections, scores .9 .8 .7 .6 .5, of which the 1st, 2nd and 4th are right."""

from __future__ import annotations

import numpy as np
import pytest

from onelook.metrics.detection_metrics import evaluate
from onelook.structures.detections import Detections
from onelook.structures.metrics import DetectionMetrics
from onelook.structures.sample import ImageLabels

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
IS_RIGHT = np.array([True, True, False, True, False])


def four_labels_five_detections() -> DetectionMetrics:
    left = np.arange(4)[:, None] * 20.0
    boxes_of_labels = np.concatenate([left, left * 0, left + 10, left * 0 + 10], axis=1)
    boxes = np.tile(np.array([200.0, 200.0, 210.0, 210.0]), (5, 1))
    boxes[IS_RIGHT] = boxes_of_labels[:3]
    labels = ImageLabels(boxes_of_labels, np.zeros(4, np.int64))
    return evaluate([labels], [Detections(boxes.astype(np.float32), SCORES, np.zeros(5, np.int64))], num_classes=1)


@pytest.mark.parametrize(("name", "expected"), [("precision", 0.72237), ("recall", 0.75), ("f1", 0.73593)])
def test_operating_point_is_the_published_one(name: str, expected: float) -> None:
    metrics = four_labels_five_detections()
    assert getattr(metrics, name) == pytest.approx(expected, abs=5e-6)
    assert getattr(metrics, f"class_{name}").tolist() == [getattr(metrics, name)]


def test_hits_and_false_alarms_at_the_operating_point_are_3_and_1() -> None:
    metrics = four_labels_five_detections()
    hits = round(metrics.recall * metrics.num_labels)
    assert hits == 3
    assert round(hits / metrics.precision - hits) == 1


def test_average_precision_is_the_mean_of_101_interpolated_points() -> None:
    """Recall 0 to 0.50 at precision 1 (51 points), to 0.75 at 3/4 (25 points), none beyond; by hand."""
    metrics = four_labels_five_detections()
    assert metrics.map50 == pytest.approx((51 * 1 + 25 * 0.75) / 101, abs=1e-9)
    assert metrics.map50_95 == pytest.approx(metrics.map50, abs=1e-9)
    assert metrics.fitness == pytest.approx(metrics.map50, abs=1e-9)
