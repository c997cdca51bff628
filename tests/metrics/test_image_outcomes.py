from __future__ import annotations

import numpy as np
import pytest

from onelook.errors import DataError
from onelook.metrics.detection_metrics import evaluate
from onelook.metrics.image_outcomes import image_outcomes
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels

A, B, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]


def labels(*boxes: tuple[list[int], int], crowd: tuple[bool, ...] | None = None) -> ImageLabels:
    return ImageLabels(
        np.array([box for box, _ in boxes], np.float64).reshape(-1, 4),
        np.array([class_id for _, class_id in boxes], np.int64),
        is_crowd=None if crowd is None else np.array(crowd),
    )


def found(*boxes: tuple[list[int], int, float]) -> Detections:
    return Detections(
        np.array([box for box, _, _ in boxes], np.float32).reshape(-1, 4),
        np.array([score for _, _, score in boxes], np.float32),
        np.array([class_id for _, class_id, _ in boxes], np.int64),
    )


# name, labels, detections, (right, missed, wrong)
CASES = (
    ("all found", labels((A, 0), (B, 1)), found((A, 0, 0.9), (B, 1, 0.8)), (2, 0, 0)),
    ("another class hits nothing", labels((A, 0)), found((A, 1, 0.9)), (0, 1, 1)),
    ("a second hit is wrong", labels((A, 0)), found((A, 0, 0.9), (A, 0, 0.8)), (1, 0, 1)),
    ("too little confidence is nothing", labels((A, 0)), found((A, 0, 0.49)), (0, 1, 0)),
    ("the confidence itself is enough", labels((A, 0)), found((A, 0, 0.5)), (1, 0, 0)),
    ("nothing there", labels(), found((FAR, 1, 0.9)), (0, 0, 1)),
    ("nothing there and nothing found", labels(), found(), (0, 0, 0)),
    ("on a crowd", labels((A, 0), crowd=(True,)), found((A, 0, 0.9), (FAR, 0, 0.9)), (0, 0, 1)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_outcome_of_an_image(case: tuple[str, ImageLabels, Detections, tuple[int, int, int]]) -> None:
    _, own, detections, expected = case
    others = (labels((B, 1)), found((B, 1, 0.9))), (labels((A, 0)), found())
    all_labels, detected = zip(others[0], (own, detections), others[1], strict=True)
    outcome = image_outcomes(all_labels, detected, num_classes=2, confidence=0.5)[1]
    assert (outcome.num_right, outcome.num_missed, outcome.num_wrong) == expected
    assert len(outcome.is_found) == len(own.class_ids) and len(outcome.is_right) == len(detections)


def test_flags_follow_the_order_given_not_that_of_scores() -> None:
    own = labels((B, 1), (A, 0), (FAR, 0))
    detections = found((A, 0, 0.6), (FAR, 1, 0.7), (B, 1, 0.9), (A, 1, 0.1))
    (outcome,) = image_outcomes([own], [detections], num_classes=2, confidence=0.5)
    assert outcome.is_found.tolist() == [True, True, False]
    assert outcome.is_right.tolist() == [True, False, True, False]
    assert outcome.is_shown.tolist() == [True, True, True, False]
    assert outcome.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))


def test_counts_agree_with_precision_and_recall_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    all_labels, detections = [], []
    for _ in range(40):
        corners = rng.uniform(0, 80, (6, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(8, 20, (6, 2))], axis=1)
        all_labels.append(ImageLabels(boxes, rng.integers(0, 3, 6)))
        moved = (boxes + rng.normal(0, 2, boxes.shape)).astype(np.float32)
        scores = rng.permutation(1000)[:6].astype(np.float32) / 1000
        classes = np.where(rng.random(6) < 0.2, rng.integers(0, 3, 6), all_labels[-1].class_ids)
        detections.append(Detections(moved, scores, classes))
    metrics = evaluate(all_labels, detections, num_classes=3)
    at = 400
    confidence = float(metrics.curves.confidence[at])
    outcomes = image_outcomes(all_labels, detections, num_classes=3, confidence=confidence)
    right = sum(outcome.num_right for outcome in outcomes)
    expected = float((metrics.curves.recall[:, at] * metrics.class_num_labels).sum())
    assert right == pytest.approx(expected, abs=3)  # the curves are straight lines between the scores that occur
    assert right > 50
    assert sum(outcome.num_missed for outcome in outcomes) == metrics.num_labels - right


def test_no_images_have_no_outcomes() -> None:
    assert image_outcomes([], [], num_classes=1, confidence=0.5) == []


def test_a_class_out_of_range_is_an_error() -> None:
    with pytest.raises(DataError, match="class id 5"):
        image_outcomes([labels((A, 5))], [found()], num_classes=2, confidence=0.5)
