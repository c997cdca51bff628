from __future__ import annotations

import numpy as np
import pytest

from onelook.metrics.confidence_curves import ConfidenceCurves, confidence_curves, smooth
from onelook.metrics.packing import PackedDetections, PackedLabels

BOX = [0.0, 0.0, 10.0, 10.0]


def curves_of(scores: list[float], *, right: list[bool], labels: int = 4, max_det: int = 300) -> ConfidenceCurves:
    """One image, one class; the labels and the right detections side by side, the wrong detections elsewhere."""
    places = np.array([[20.0 * place, 0, 10, 10] for place in range(labels)])
    packed = PackedLabels(
        np.zeros(labels, int), np.zeros(labels, int), places, np.zeros(labels, bool), np.full(labels, 100.0)
    )
    order = np.cumsum(right) - 1
    boxes = np.where(np.array(right)[:, None], places[order], [500.0, 500, 10, 10])
    found = PackedDetections(np.zeros(len(scores), int), np.zeros(len(scores), int), boxes, np.array(scores))
    return confidence_curves(packed, found, class_ids=np.array([0]), num_labels=np.array([labels]), max_det=max_det)


def at(curves: ConfidenceCurves, confidence: float) -> tuple[float, float]:
    point = int(np.argmin(np.abs(curves.confidence - confidence)))
    return float(curves.precision[0, point]), float(curves.recall[0, point])


def test_curves_pass_through_what_each_threshold_gives() -> None:
    curves = curves_of([0.8, 0.6, 0.4, 0.2], right=[True, False, True, True])
    assert at(curves, 0.95) == (1.0, 0.0)
    assert at(curves, 0.8) == pytest.approx((1.0, 0.25), abs=5e-3)
    assert at(curves, 0.6) == pytest.approx((0.5, 0.25), abs=5e-3)
    assert at(curves, 0.4) == pytest.approx((2 / 3, 0.5), abs=5e-3)
    assert at(curves, 0.0) == (0.75, 0.75)


def test_order_of_equal_scores_does_not_matter() -> None:
    first = curves_of([0.5, 0.5, 0.5, 0.3], right=[True, True, False, True])
    last = curves_of([0.5, 0.5, 0.5, 0.3], right=[False, True, True, True])
    np.testing.assert_array_equal(first.precision, last.precision)
    np.testing.assert_array_equal(first.recall, last.recall)


def test_detections_beyond_the_limit_do_not_count() -> None:
    curves = curves_of([0.8, 0.6, 0.4], right=[True, True, True], max_det=2)
    assert at(curves, 0.0) == (1.0, 0.5)


def test_limit_keeps_the_best_scores_whatever_their_order() -> None:
    curves = curves_of([0.2, 0.9, 0.8], right=[False, True, True], max_det=2)
    assert at(curves, 0.0) == (1.0, 0.5)


def test_limit_counts_per_image_and_keeps_the_order_of_scores_over_all_images() -> None:
    one_each = PackedLabels(np.arange(2), np.zeros(2, int), np.array([BOX, BOX]), np.zeros(2, bool), np.full(2, 100.0))
    boxes = np.array([BOX, [500.0, 500, 10, 10], BOX])
    found = PackedDetections(np.array([0, 0, 1]), np.zeros(3, int), boxes, np.array([0.2, 0.1, 0.9]))
    curves = confidence_curves(one_each, found, class_ids=np.array([0]), num_labels=np.array([2]), max_det=1)
    assert at(curves, 0.9) == pytest.approx((1.0, 0.5), abs=5e-3)
    assert at(curves, 0.0) == (1.0, 1.0)


def test_class_without_detections_is_0_throughout() -> None:
    label = PackedLabels(np.array([0]), np.array([1]), np.array([BOX]), np.array([False]), np.array([100.0]))
    found = PackedDetections(np.array([0]), np.array([0]), np.array([BOX]), np.array([0.9]))
    curves = confidence_curves(label, found, class_ids=np.array([1]), num_labels=np.array([1]), max_det=300)
    for curve in (curves.precision, curves.recall, curves.f1):
        assert curve.shape == (1, 1000)
        assert not curve.any()


def test_without_classes_the_best_point_is_the_first() -> None:
    none = np.zeros(0, np.int64)
    packed = PackedLabels(none, none, np.zeros((0, 4)), none.astype(bool), np.zeros(0))
    found = PackedDetections(none, none, np.zeros((0, 4)), np.zeros(0))
    curves = confidence_curves(packed, found, class_ids=none, num_labels=none, max_det=300)
    assert curves.f1.shape == (0, 1000)
    assert curves.best_point() == 0


@pytest.mark.parametrize("length", [10, 99, 1000])
def test_smoothing_keeps_length_and_level(length: int) -> None:
    smoothed = smooth(np.full(length, 0.7), 0.1)
    assert smoothed.shape == (length,)
    np.testing.assert_allclose(smoothed, 0.7)


def test_smoothing_of_1000_points_averages_101() -> None:
    peak = np.zeros(1000)
    peak[500] = 1
    smoothed = smooth(peak, 0.1)
    assert np.flatnonzero(smoothed).tolist() == list(range(450, 551))
    assert smoothed[500] == pytest.approx(1 / 101)
