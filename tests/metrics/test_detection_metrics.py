from __future__ import annotations

import numpy as np
import pytest

from onelook.errors import DataError, NumericsError
from onelook.metrics.detection_metrics import evaluate
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels

BOX = [0.0, 0.0, 10.0, 10.0]
FAR = [100.0, 100.0, 250.0, 250.0]


def image_labels(*labels: tuple[list[float], int], crowd: list[bool] | None = None) -> ImageLabels:
    boxes = np.array([box for box, _ in labels]).reshape(-1, 4)
    return ImageLabels(boxes, np.array([c for _, c in labels], np.int64), None if crowd is None else np.array(crowd))


def found(*rows: tuple[list[float], int, float]) -> Detections:
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    classes = np.array([class_id for _, class_id, _ in rows], np.int64)
    return Detections(boxes, np.array([score for _, _, score in rows], np.float32), classes)


def test_perfect_detections_score_1_everywhere() -> None:
    all_labels = [image_labels((BOX, 0), (FAR, 2)), image_labels((BOX, 2)), image_labels()]
    detections = [found((BOX, 0, 0.9), (FAR, 2, 0.8)), found((BOX, 2, 0.9)), found()]
    metrics = evaluate(all_labels, detections, num_classes=3)
    for name in ("map50", "map75", "map50_95", "map_small", "map_large", "precision", "recall", "f1", "fitness"):
        assert getattr(metrics, name) == pytest.approx(1.0), name
    assert np.isnan(metrics.map_medium)
    assert metrics.class_ids.tolist() == [0, 2]
    assert metrics.class_num_labels.tolist() == [1, 2]
    assert metrics.class_num_images.tolist() == [1, 2]
    assert (metrics.num_images, metrics.num_labels) == (3, 3)
    assert np.diag(metrics.confusion).tolist() == [1, 0, 2, 0]
    assert metrics.confusion.sum() == 3


@pytest.mark.parametrize("detections", [[found()], [found((BOX, 0, 0.9))]], ids=["nothing found", "something found"])
def test_without_labels_fractions_are_0_and_classes_none(detections: list[Detections]) -> None:
    metrics = evaluate([image_labels()], detections, num_classes=2)
    for name in ("map50", "map75", "map50_95", "precision", "recall", "f1", "fitness", "best_confidence", "num_labels"):
        assert getattr(metrics, name) == 0, name
    assert np.isnan([metrics.map_small, metrics.map_medium, metrics.map_large]).all()
    assert metrics.class_ids.shape == metrics.class_ap.shape == (0,)
    assert metrics.curves.f1.shape == (0, 1000)
    assert metrics.curves.precision_at_recall.shape == (0, 101)


def test_no_images_at_all_give_an_empty_result() -> None:
    metrics = evaluate([], [], num_classes=2)
    assert (metrics.map50, metrics.num_images, metrics.confusion.sum()) == (0, 0, 0)


def test_labels_without_detections_count_as_0() -> None:
    metrics = evaluate([image_labels((BOX, 0), (FAR, 1))], [found((BOX, 0, 0.9))], num_classes=2)
    assert metrics.class_ap50.tolist() == [pytest.approx(1.0), 0.0]
    assert metrics.map50 == pytest.approx(0.5)
    assert metrics.recall == pytest.approx(0.5)


def test_classes_without_labels_are_left_out_of_means() -> None:
    metrics = evaluate([image_labels((BOX, 0))], [found((BOX, 0, 0.9), (FAR, 1, 0.95))], num_classes=2)
    assert metrics.map50 == pytest.approx(1.0)
    assert metrics.precision == pytest.approx(1.0)


def test_crowd_labels_are_neither_counted_nor_missed() -> None:
    all_labels = [image_labels((BOX, 0), (FAR, 0), (FAR, 1), crowd=[False, True, True])]
    inside = [110.0, 110.0, 140.0, 140.0]
    metrics = evaluate(all_labels, [found((BOX, 0, 0.9), (inside, 0, 0.95), (FAR, 0, 0.8))], num_classes=2)
    assert metrics.class_ids.tolist() == [0]
    assert (metrics.num_labels, metrics.class_num_labels.tolist()) == (1, [1])
    assert (metrics.map50, metrics.precision, metrics.recall) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))


def test_result_does_not_depend_on_the_order_of_distinct_detections() -> None:
    rows = [(BOX, 0, 0.9), (FAR, 1, 0.5), ([1.0, 0.0, 10.0, 10.0], 0, 0.7)]
    all_labels = [image_labels((BOX, 0), (FAR, 1))]
    one = evaluate(all_labels, [found(*rows)], num_classes=2)
    other = evaluate(all_labels, [found(*reversed(rows))], num_classes=2)
    assert one.map50_95 == other.map50_95
    np.testing.assert_array_equal(one.curves.f1, other.curves.f1)
    np.testing.assert_array_equal(one.confusion, other.confusion)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(DataError, match="labels are given for 1 images, detections for 2"):
        evaluate([image_labels()], [found(), found()], num_classes=1)


@pytest.mark.parametrize("class_id", [-1, 2])
def test_class_out_of_range_is_refused_with_its_image(class_id: int) -> None:
    with pytest.raises(DataError, match=f"a label in image number 1 has class id {class_id}; there are 2 classes"):
        evaluate([image_labels(), image_labels((BOX, class_id))], [found(), found()], num_classes=2)
    with pytest.raises(DataError, match=f"a detection in image number 1 has class id {class_id}"):
        evaluate([image_labels(), image_labels()], [found(), found((BOX, class_id, 0.5))], num_classes=2)


@pytest.mark.parametrize(
    ("labels", "detections", "message"),
    [
        (
            image_labels(([0.0, 0.0, float("nan"), 1.0], 0)),
            found(),
            "a label in image number 1 has a box that is not finite",
        ),
        (image_labels(), found(([0.0, 0.0, float("inf"), 1.0], 0, 0.5)), "a detection in image number 1 has a box"),
        (image_labels(), found((BOX, 0, float("nan"))), "a detection in image number 1 has a score that is not finite"),
    ],
)
def test_numbers_that_are_not_finite_are_refused(labels: ImageLabels, detections: Detections, message: str) -> None:
    with pytest.raises(NumericsError, match=message):
        evaluate([image_labels(), labels], [found(), detections], num_classes=1)
