from __future__ import annotations

import json

import numpy as np

from onelook.metrics.coco_json import to_coco_json
from onelook.metrics.packing import pack_labels
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels

LABELS = [
    ImageLabels(np.array([[1.0, 2.0, 4.0, 8.0]]), np.array([1]), is_crowd=np.array([True]), areas=np.array([7.0])),
    ImageLabels(np.array([[0.0, 0.0, 5.0, 5.0], [0.0, 0.0, 2.0, 3.0]]), np.array([0, 1])),
]
DETECTIONS = [
    Detections(np.array([[0.12345, 0, 1.5, 2]], np.float32), np.array([0.1234567], np.float32), np.array([1])),
    Detections.empty(),
]


def test_dataset_holds_every_label_with_its_area_and_crowd_flag() -> None:
    dataset, _ = to_coco_json(LABELS, DETECTIONS, num_classes=2)
    annotations = dataset["annotations"]
    assert [row["id"] for row in annotations] == [1, 2, 3]
    assert [row["image_id"] for row in annotations] == [0, 1, 1]
    assert [row["category_id"] for row in annotations] == [1, 0, 1]
    assert [row["bbox"] for row in annotations] == [[1, 2, 3, 6], [0, 0, 5, 5], [0, 0, 2, 3]]
    assert [(row["area"], row["iscrowd"]) for row in annotations] == [(7, 1), (25, 0), (6, 0)]
    assert json.loads(json.dumps(dataset)) == dataset


def test_results_for_an_evaluator_are_exact() -> None:
    _, results = to_coco_json(LABELS, DETECTIONS, num_classes=2)
    assert results[0]["score"] == float(np.float32(0.1234567))
    assert results[0]["image_id"] == 0


def test_areas_are_those_given_or_else_of_the_box() -> None:
    assert pack_labels(LABELS, num_classes=2).areas.tolist() == [7, 25, 6]
    assert pack_labels(LABELS[1:], num_classes=2).areas.tolist() == [25, 6]
