from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from onelook.errors import SettingsError
from onelook.geometry import nms as module
from onelook.geometry.nms import greedy, likely_rows, non_max_suppression

F = np.float32


def slow_iou(a: np.ndarray, b: np.ndarray) -> np.float32:
    width = max(F(min(a[2], b[2]) - max(a[0], b[0])), F(0))
    height = max(F(min(a[3], b[3]) - max(a[1], b[1])), F(0))
    overlap = F(width * height)
    if overlap == 0:
        return F(0)
    area = F(F(a[2] - a[0]) * F(a[3] - a[1]))
    other = F(F(b[2] - b[0]) * F(b[3] - b[1]))
    return F(overlap / F(F(area + other) - overlap))


def slow_nms(boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, threshold: float) -> list[int]:
    """The textbook loop, one pair at a time."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda row: (-scores[row], row)):
        rivals = (j for j in kept if class_ids[j] == class_ids[i])
        if not any(slow_iou(boxes[j], boxes[i]) > F(threshold) for j in rivals):
            kept.append(i)
    return kept


def nms(boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray | None, threshold: float) -> list[int]:
    order = np.argsort(-scores, kind="stable")
    labels = None if class_ids is None else class_ids[order]
    return order[greedy(boxes[order], labels, iou_threshold=threshold, max_keep=len(order))].tolist()


def random_case(rng: np.random.Generator, most: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Boxes with duplicates, zero sides and exact fractions; scores with many ties."""
    n = int(rng.integers(0, most))
    if rng.random() < 0.5:
        corner = rng.integers(0, 8, (n, 2)).astype(F)
        size = rng.integers(0, 6, (n, 2)).astype(F)
    else:
        corner, size = (rng.random((2, n, 2)) * 10).astype(F)
    boxes = np.concatenate([corner, corner + size], axis=1)
    if n > 2:
        boxes[rng.integers(0, n)] = boxes[rng.integers(0, n)]
    scores = rng.integers(0, 5, n).astype(F) / 4 if rng.random() < 0.5 else rng.random(n).astype(F)
    return boxes, scores, rng.integers(0, 3, n), float(rng.choice([0.0, 0.25, 0.45, 0.5, 0.6, 2 / 3, 1.0]))


@pytest.mark.parametrize("block", [4, 256])
def test_result_is_that_of_the_greedy_loop_on_500_random_cases(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    rng = np.random.Generator(np.random.Philox(key=block))
    for _ in range(250):
        boxes, scores, class_ids, threshold = random_case(rng)
        assert nms(boxes, scores, None, threshold) == slow_nms(boxes, scores, np.zeros(len(boxes)), threshold)
        assert nms(boxes, scores, class_ids, threshold) == slow_nms(boxes, scores, class_ids, threshold)


def test_chain_of_boxes_keeps_every_other_one_across_all_blocks() -> None:
    left = np.arange(1500, dtype=F) * 4
    boxes = np.stack([left, np.zeros(1500, F), left + 10, np.ones(1500, F)], axis=1)  # neighbours: IoU 6/14
    assert nms(boxes, np.linspace(1, 0.1, 1500), None, 0.4) == list(range(0, 1500, 2))


def test_kept_boxes_of_all_earlier_tiles_count() -> None:
    left = np.arange(3000, dtype=F) * 20
    apart = np.stack([left, np.zeros(3000, F), left + 10, np.full(3000, F(10))], axis=1)
    kept = nms(np.concatenate([apart, apart + 1]), np.repeat([0.9, 0.8], 3000), None, 0.5)
    assert kept == list(range(3000))


def slow_prediction_nms(
    rows: np.ndarray, *, conf: float, iou: float, max_det: int, multi_label: bool, agnostic: bool,
    classes: list[int] | None, max_candidates: int,
) -> list[list[float]]:  # fmt: skip
    """One image, straight from the definition."""
    found = []
    for cx, cy, w, h, objectness, *class_scores in rows.tolist():
        if not F(objectness) > F(conf):
            continue
        scores = [float(F(F(c) * F(objectness))) for c in class_scores]
        wanted = range(len(scores)) if multi_label else [int(np.argmax(scores))]
        box = [F(cx) - F(w) / 2, F(cy) - F(h) / 2, F(cx) + F(w) / 2, F(cy) + F(h) / 2]
        found += [[*box, F(scores[c]), c] for c in wanted if F(scores[c]) > F(conf) and (not classes or c in classes)]
    best = sorted(found, key=lambda row: -row[4])[:max_candidates]
    table = np.array(best, F).reshape(-1, 6)
    kept = slow_nms(table[:, :4], table[:, 4], table[:, 5] * (not agnostic), iou)
    return table[kept[:max_det]].tolist()


@pytest.mark.parametrize(
    ("multi_label", "agnostic", "classes", "max_det", "max_candidates"),
    [
        (True, False, None, 300, 30_000),
        (True, True, None, 300, 30_000),
        (False, False, None, 300, 30_000),
        (False, True, [1, 3], 300, 30_000),
        (True, False, [0, 2, 99], 300, 30_000),
        (True, False, None, 5, 30_000),
        (True, False, None, 300, 7),
    ],
)
def test_predictions_give_what_the_definition_says(
    multi_label: bool, agnostic: bool, classes: list[int] | None, max_det: int, max_candidates: int
) -> None:
    rng = np.random.Generator(np.random.Philox(key=11))
    for _ in range(12):
        rows = rng.random((3, 40, 9)).astype(F)
        rows[..., :4] *= np.array([40, 40, 30, 30], F)
        rows[..., 4:] = np.round(rows[..., 4:] * 6) / 6  # ties
        found = non_max_suppression(
            torch.from_numpy(rows), conf_thres=0.3, iou_thres=0.4, multi_label=multi_label, agnostic_nms=agnostic,
            classes=classes, max_det=max_det, max_candidates=max_candidates,
        )  # fmt: skip
        for image, result in zip(rows, found, strict=True):
            expected = slow_prediction_nms(
                image, conf=0.3, iou=0.4, multi_label=multi_label, agnostic=agnostic, classes=classes,
                max_det=max_det, max_candidates=max_candidates,
            )  # fmt: skip
            assert result.tolist() == expected


def test_boxes_of_high_classes_keep_their_resolution() -> None:
    """Shifting boxes by class number would round these two boxes and their overlap."""
    rows = torch.zeros(1, 2, 5 + 365)
    rows[0, :, :4] = torch.tensor([[10.0, 10.0, 0.10, 10.0], [10.06, 10.0, 0.10, 10.0]])  # IoU 0.25
    rows[0, :, 4] = torch.tensor([0.9, 0.8])
    rows[0, :, 5 + 364] = 1
    assert len(non_max_suppression(rows, conf_thres=0.1, iou_thres=0.3)[0]) == 2
    assert len(non_max_suppression(rows, conf_thres=0.1, iou_thres=0.2)[0]) == 1


def test_every_image_of_a_hard_batch_gets_its_result() -> None:
    rows = torch.ones(3, 8400, 85)
    rows[..., :4] = torch.tensor([300.0, 300.0, 100.0, 100.0])
    found = non_max_suppression(rows, conf_thres=0.001, iou_thres=0.6)
    assert [len(table) for table in found] == [80, 80, 80]
    assert found[2][:, 5].tolist() == list(range(80))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e12])
def test_a_row_with_a_broken_box_does_not_remove_the_others(bad: float) -> None:
    rows = torch.tensor([[[8.0, 8.0, 4.0, bad, 0.99, 1.0], [8.0, 8.0, 4.0, 4.0, 0.9, 1.0]]])
    (found,) = non_max_suppression(rows, conf_thres=0.25, iou_thres=0.45)
    assert found.tolist() == [[6.0, 6.0, 10.0, 10.0, pytest.approx(0.9), 0.0]]


def test_scores_that_are_not_numbers_are_no_candidates() -> None:
    rows = torch.full((2, 10, 7), float("nan"))
    assert [found.shape for found in non_max_suppression(rows, conf_thres=0.0, iou_thres=0.5)] == [(0, 6), (0, 6)]


@pytest.mark.parametrize("shape", [(0, 5, 7), (2, 0, 7), (1, 3, 6)])
def test_batches_without_candidates_give_empty_tables(shape: tuple[int, int, int]) -> None:
    found = non_max_suppression(torch.zeros(shape), conf_thres=0.1, iou_thres=0.5)
    assert [table.shape for table in found] == [(0, 6)] * shape[0]


def test_half_precision_predictions_give_float32_rows() -> None:
    rows = torch.tensor([[[8.0, 8.0, 4.0, 4.0, 0.5, 0.5]]], dtype=torch.float16)
    (found,) = non_max_suppression(rows, conf_thres=0.1, iou_thres=0.5)
    assert found.dtype == torch.float32
    assert found[0, 4] == 0.25


@pytest.mark.parametrize(
    ("name", "value"), list(itertools.product(["conf_thres", "iou_thres"], [-0.1, 1.1, float("nan")]))
)
def test_thresholds_outside_0_to_1_are_refused(name: str, value: float) -> None:
    settings = {"conf_thres": 0.1, "iou_thres": 0.5} | {name: value}
    with pytest.raises(SettingsError, match=f"`{name}` is {value}"):
        non_max_suppression(torch.zeros(1, 1, 6), **settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_and_cpu_agree() -> None:
    rng = np.random.Generator(np.random.Philox(key=5))
    rows = torch.from_numpy(rng.random((2, 3000, 9)).astype(F)) * torch.tensor([640, 640, 90, 90, 1, 1, 1, 1, 1])
    on_cpu = non_max_suppression(rows, conf_thres=0.05, iou_thres=0.6)
    on_gpu = non_max_suppression(rows.cuda(), conf_thres=0.05, iou_thres=0.6)
    assert all(torch.equal(a, b) for a, b in zip(on_cpu, on_gpu, strict=True))


@pytest.mark.parametrize("multi_label", [True, False])
def test_at_an_iou_of_one_the_best_candidates_come_out_whatever_overlaps(multi_label: bool) -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(1, 20, (40, 3)).astype(F) / 20
    rows = np.concatenate([np.full((40, 4), 8, F), np.ones((40, 1), F), scores], axis=1)
    (found,) = non_max_suppression(
        torch.from_numpy(rows[None]), conf_thres=0.001, iou_thres=1.0, max_det=30, multi_label=multi_label
    )
    candidates = scores if multi_label else np.where(np.eye(3, dtype=bool)[scores.argmax(1)], scores, 0)
    order = np.argsort(-candidates.ravel(), kind="stable")[:30]
    assert found[:, 4].tolist() == candidates.ravel()[order].tolist()
    assert found[:, 5].tolist() == (order % 3).tolist()


@pytest.mark.parametrize("conf_thres", [0.0, 0.3, 1.0])
def test_likely_rows_give_the_detections_of_all_rows(conf_thres: float) -> None:
    predictions = torch.rand((4, 200, 5 + 3), generator=torch.Generator().manual_seed(1)) * 20
    predictions[..., 4:] /= 20
    predictions[1, :, 4] = 0.0
    predictions[2, ::7, 4] = float("nan")
    predictions[3, ::5] = predictions[3, 1::5]
    likely = likely_rows(predictions, conf_thres)
    assert [len(rows) for rows in likely] == (predictions[..., 4] > conf_thres).sum(dim=1).tolist()
    for multi_label in (True, False):
        given = {"conf_thres": conf_thres, "iou_thres": 0.5, "max_det": 50, "multi_label": multi_label}
        expected, found = non_max_suppression(predictions, **given), non_max_suppression(likely, **given)
        assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))
