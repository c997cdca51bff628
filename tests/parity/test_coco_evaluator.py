"""Our numbers against those of `pycocotools`, the reference implementation of COCO's metrics."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from coco_random_cases import Case, random_case

from onelook.metrics.coco_json import to_coco_json
from onelook.metrics.confidence_curves import judge
from onelook.metrics.detection_metrics import evaluate
from onelook.metrics.packing import pack_detections, pack_labels
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels

pycocotools_coco = pytest.importorskip("pycocotools.coco")
pycocotools_eval = pytest.importorskip("pycocotools.cocoeval")

TOLERANCE = 1e-6
AREAS = {"map_small": 1, "map_medium": 2, "map_large": 3}


def reference(case: Case, max_det: int) -> Any:
    labels, detections, num_classes = case
    dataset, results = to_coco_json(labels, detections, num_classes=num_classes)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = pycocotools_coco.COCO()
        coco.dataset = dataset
        coco.createIndex()
        if results:
            loaded = coco.loadRes(results)
        else:
            loaded = pycocotools_coco.COCO()
            loaded.dataset = dataset | {"annotations": []}
            loaded.createIndex()
        evaluator = pycocotools_eval.COCOeval(coco, loaded, "bbox")
        evaluator.params.maxDets = [max_det]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def mean(precision: np.ndarray) -> float:
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else float("nan")


def check(case: Case, max_det: int) -> None:
    labels, detections, num_classes = case
    ours = evaluate(labels, detections, num_classes=num_classes, max_det=max_det)
    oracle = reference(case, max_det)
    precision = oracle.eval["precision"][..., 0]  # (T, R, C, A)
    expected = {
        "map50_95": np.nan_to_num(mean(precision[..., 0])),
        "map50": np.nan_to_num(mean(precision[0, ..., 0])),
        "map75": np.nan_to_num(mean(precision[5, ..., 0])),
    } | {name: mean(precision[..., area]) for name, area in AREAS.items()}
    for name, value in expected.items():
        assert getattr(ours, name) == pytest.approx(value, abs=TOLERANCE, nan_ok=True), name
    class_ids = np.flatnonzero(precision[0, 0, :, 0] > -1)
    assert ours.class_ids.tolist() == class_ids.tolist()
    if not len(class_ids):
        return
    per_class = precision[:, :, class_ids, 0]
    np.testing.assert_allclose(ours.class_ap, per_class.mean(axis=(0, 1)), atol=TOLERANCE)
    np.testing.assert_allclose(ours.class_ap50, per_class[0].mean(axis=0), atol=TOLERANCE)
    np.testing.assert_allclose(ours.curves.precision_at_recall, per_class[0].T, atol=TOLERANCE)
    np.testing.assert_allclose(ours.curves.recall[:, 0], oracle.eval["recall"][0, class_ids, 0, 0], atol=TOLERANCE)


@pytest.mark.parametrize("tens", [*range(10), *(pytest.param(tens, marks=pytest.mark.slow) for tens in range(10, 30))])
def test_average_precision_is_that_of_pycocotools_on_300_random_cases(tens: int) -> None:
    for seed in range(tens * 10, tens * 10 + 10):
        most = 300 if seed % 25 == 0 else 40
        check(random_case(seed, most_detections=most), max_det=int(np.array([300, 100, 3])[seed % 3]))


def test_hits_and_ignored_detections_are_those_of_pycocotools() -> None:
    for seed in range(60):
        case = random_case(1000 + seed)
        labels, detections, num_classes = case
        packed = pack_detections(detections, num_classes=num_classes)
        ranked = packed.rows(np.lexsort((-packed.scores, packed.class_ids, packed.image_ids)))
        is_hit, is_ignored = judge(pack_labels(labels, num_classes=num_classes), ranked)
        oracle = reference(case, 300)
        everything = oracle.params.areaRng[0]
        # results per class, then area, then image; all of class-and-image order below
        cells = [cell for cell in oracle.evalImgs if cell is not None and cell["aRng"] == everything]
        cells.sort(key=lambda cell: (cell["image_id"], cell["category_id"]))
        matched = np.concatenate([cell["dtMatches"][0] for cell in cells] or [np.zeros(0)]) > 0
        ignored = np.concatenate([cell["dtIgnore"][0] for cell in cells] or [np.zeros(0)]).astype(bool)
        assert is_hit.tolist() == (matched & ~ignored).tolist()
        assert is_ignored.tolist() == ignored.tolist()


@pytest.mark.parametrize(
    ("labels", "detections"),
    [
        ([], []),
        ([ImageLabels(np.zeros((0, 4)), np.zeros(0, np.int64))], [Detections.empty()]),
        ([ImageLabels(np.array([[0.0, 0, 9, 9]]), np.array([1]))], [Detections.empty()]),
        (
            [ImageLabels(np.zeros((0, 4)), np.zeros(0, np.int64))],
            [Detections(np.array([[0, 0, 9, 9]], np.float32), np.ones(1, np.float32), np.array([0]))],
        ),
        (
            [ImageLabels(np.array([[3.0, 3, 3, 3]]), np.array([0]))],
            [Detections(np.array([[3, 3, 3, 3]], np.float32), np.ones(1, np.float32), np.array([0]))],
        ),
    ],
    ids=["no images", "nothing", "labels only", "detections only", "boxes without area"],
)
def test_bare_cases_are_as_in_pycocotools(labels: list[ImageLabels], detections: list[Detections]) -> None:
    check((labels, detections, 2), max_det=100)
