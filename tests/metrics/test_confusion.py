from __future__ import annotations

import numpy as np
import pytest

from onelook.metrics.confusion import confusion_cells
from onelook.metrics.packing import pack_detections, pack_labels
from onelook.structures.confusion_cells import cells_of, matrix_of
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels

HERE, THERE = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
Box = tuple[list[float], int]
Found = tuple[list[float], int, float]
BACKGROUND = 2


def image(labels: list[Box], found: list[Found], crowd: list[bool] | None = None) -> tuple[ImageLabels, Detections]:
    own = ImageLabels(
        np.array([box for box, _ in labels]).reshape(-1, 4),
        np.array([class_id for _, class_id in labels], np.int64),
        None if crowd is None else np.array(crowd, bool),
    )
    boxes = np.array([box for box, _, _ in found], np.float32).reshape(-1, 4)
    scores = np.array([score for _, _, score in found], np.float32)
    return own, Detections(boxes, scores, np.array([class_id for _, class_id, _ in found], np.int64))


def cells(images: list[tuple[ImageLabels, Detections]]) -> dict[tuple[int, int], int]:
    packed = pack_labels([own for own, _ in images], num_classes=2)
    found = confusion_cells(packed, pack_detections([d for _, d in images], num_classes=2), num_classes=2)
    assert np.array_equal(cells_of(matrix_of(found, 2)), found)
    return {(predicted, true): count for predicted, true, count in found.tolist()}


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([image([(HERE, 0)], [(HERE, 0, 0.9)])], {(0, 0): 1}),
        ([image([(HERE, 0)], [(HERE, 1, 0.9)])], {(1, 0): 1}),
        ([image([(HERE, 0)], [])], {(BACKGROUND, 0): 1}),
        ([image([(HERE, 0)], [(HERE, 0, 0.25)])], {(BACKGROUND, 0): 1}),
        ([image([], [(HERE, 1, 0.9)])], {(1, BACKGROUND): 1}),
        ([image([(HERE, 0)], [(THERE, 1, 0.9)])], {(BACKGROUND, 0): 1, (1, BACKGROUND): 1}),
        ([image([(HERE, 0)], [(HERE, 0, 0.9), (HERE, 0, 0.8)])], {(0, 0): 1, (0, BACKGROUND): 1}),
        ([image([(HERE, 0)], []), image([], [(HERE, 0, 0.9)])], {(BACKGROUND, 0): 1, (0, BACKGROUND): 1}),
        ([image([(HERE, 0)], [(HERE, 0, 0.9)], crowd=[True])], {}),
        ([image([(HERE, 0)], [(HERE, 1, 0.9)], crowd=[True])], {(1, BACKGROUND): 1}),
        ([image([], [])], {}),
        ([], {}),
    ],
    ids=[
        "right", "wrong class", "missed", "below the score", "no labels", "label elsewhere", "found twice",
        "not across images", "crowd", "crowd of another class", "empty image", "no images",
    ],
)  # fmt: skip
def test_each_case_fills_its_cell(
    images: list[tuple[ImageLabels, Detections]], expected: dict[tuple[int, int], int]
) -> None:
    assert cells(images) == expected


@pytest.mark.parametrize(("width", "is_paired"), [(4.5, False), (4.6, True)])
def test_iou_must_be_above_0_45(width: float, is_paired: bool) -> None:
    expected = {(0, 0): 1} if is_paired else {(BACKGROUND, 0): 1, (0, BACKGROUND): 1}
    assert cells([image([(HERE, 0)], [([0.0, 0.0, width, 10.0], 0, 0.9)])]) == expected


def slow_confusion(own: ImageLabels, found: Detections, num_classes: int) -> np.ndarray:
    """One image, in the words of the definition."""
    matrix = np.zeros((num_classes + 1, num_classes + 1), int)
    rows = []
    for d in np.flatnonzero(found.scores > 0.25).tolist():
        for t in range(len(own.boxes)):
            a, b = found.boxes[d].astype(float), own.boxes[t].astype(float)
            side = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
            overlap = np.prod(np.maximum(side, 0))
            iou = overlap / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - overlap)
            if iou > 0.45:
                rows.append((iou, d, t))
    rows.sort(reverse=True)
    of_detection = {d: (iou, d, t) for iou, d, t in reversed(rows)}
    of_label = {t: (d, t) for _, d, t in sorted(of_detection.values())}
    for d, t in of_label.values():
        matrix[found.class_ids[d], own.class_ids[t]] += 1
    for t in set(range(len(own.boxes))) - set(of_label):
        matrix[num_classes, own.class_ids[t]] += 1
    for d in set(np.flatnonzero(found.scores > 0.25).tolist()) - {d for d, _ in of_label.values()}:
        matrix[found.class_ids[d], num_classes] += 1
    return matrix


def test_counts_are_those_of_the_loop_on_random_images() -> None:
    rng = np.random.Generator(np.random.Philox(key=2))

    def boxes(count: int) -> np.ndarray:
        corner = rng.random((count, 2)) * 12
        return np.concatenate([corner, corner + 3 + rng.random((count, 2)) * 9], axis=1)

    for _ in range(40):
        all_labels, detections = [], []
        for _ in range(int(rng.integers(1, 6))):
            labels, found = rng.integers(0, 7, 2).tolist()
            all_labels.append(ImageLabels(boxes(labels), rng.integers(0, 3, labels)))
            scores = np.sort(rng.random(found))[::-1].astype(np.float32)
            detections.append(Detections(boxes(found).astype(np.float32), scores, rng.integers(0, 3, found)))
        packed = pack_labels(all_labels, num_classes=3), pack_detections(detections, num_classes=3)
        expected = sum(slow_confusion(t, d, 3) for t, d in zip(all_labels, detections, strict=True))
        assert matrix_of(confusion_cells(*packed, num_classes=3), 3).tolist() == expected.tolist()
