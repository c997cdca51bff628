"""Non-maximum suppression: exact, on any device, without a time limit.

Letters: B images, N rows of a prediction, K classes, n candidates or detections of one image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onelook.errors import SettingsError
from onelook.geometry.boxes import cxcywh_to_xyxy

CPU_BLOCK = 256
GPU_BLOCK = 2048
MAX_COORDINATE = 1e9
"""Pixels; areas of larger boxes would overflow float32 and spoil the overlap with every other box."""


def non_max_suppression(
    predictions: Tensor,
    *,
    conf_thres: float,
    iou_thres: float,
    max_det: int = 300,
    multi_label: bool = True,
    agnostic: bool = False,
    classes: Sequence[int] | None = None,
    max_candidates: int = 30_000,
) -> list[Tensor]:
    """The detections of every image: (n, 6) float32 rows x1, y1, x2, y2, score, class, highest score first.

    A candidate's score is objectness times class score. Candidates of equal score keep the order of rows, then of
    classes. However long it takes, every image gets its result. Rows whose box is not finite, or is a billion
    pixels away, are left out.

    Args:
        predictions: (B, N, 5 + K) rows cx, cy, w, h in pixels, objectness, class scores.
        conf_thres: a candidate's objectness and score must both be above this, 0 to 1.
        iou_thres: of two boxes with an IoU above this the one of lower score is dropped, 0 to 1.
        max_det: most detections per image.
        multi_label: every class of a row above `conf_thres` is a candidate; otherwise only its best class.
        agnostic: boxes suppress boxes of other classes too.
        classes: only these classes; None means all.
        max_candidates: most candidates per image that are looked at, the best ones.

    Raises:
        SettingsError: a threshold is outside 0 to 1.

    >>> rows = torch.tensor([[[8.0, 8.0, 4.0, 4.0, 0.9, 1.0], [8.0, 8.5, 4.0, 4.0, 0.8, 1.0]]])
    >>> non_max_suppression(rows, conf_thres=0.25, iou_thres=0.45)[0].shape
    torch.Size([1, 6])
    """
    _check_fraction("conf_thres", conf_thres)
    _check_fraction("iou_thres", iou_thres)
    found = []
    for rows in predictions.float():
        is_usable = (rows[:, 4] > conf_thres) & (rows[:, :4].abs().amax(dim=1) < MAX_COORDINATE)
        rows = rows[is_usable]
        scores = _scores(rows, multi_label=multi_label, classes=classes)
        num_classes = scores.shape[1]
        scores = scores.flatten()
        candidates = (scores > conf_thres).nonzero().squeeze(1)
        candidates = candidates[_best_first(scores[candidates], max_candidates)]
        boxes, class_ids = cxcywh_to_xyxy(rows[candidates // num_classes, :4]), candidates % num_classes
        kept = _greedy(boxes, None if agnostic else class_ids, iou_thres, max_keep=max_det)
        found.append(torch.cat([boxes, scores[candidates, None], class_ids[:, None].float()], dim=1)[kept])
    return found


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """(n,) int64 positions of the boxes that plain greedy suppression keeps, highest score first.

    Boxes are taken by falling score (equal scores in the order given); one is dropped if its IoU with a box kept
    before is above the threshold. A box without area overlaps nothing.

    Args:
        boxes: (N, 4) xyxy, any unit, finite.
        scores: (N,).
        iou_threshold: 0 to 1.

    >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [5.0, 5.0, 9.0, 9.0]])
    >>> nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5).tolist()
    [1, 2]
    """
    order = torch.argsort(scores, descending=True, stable=True)
    return order[_greedy(boxes[order].float(), None, iou_threshold, max_keep=len(order))]


def batched_nms(boxes: Tensor, scores: Tensor, class_ids: Tensor, iou_threshold: float) -> Tensor:
    """As `nms`, but a box is dropped only for a box of the same class; `class_ids` (N,)."""
    order = torch.argsort(scores, descending=True, stable=True)
    return order[_greedy(boxes[order].float(), class_ids[order], iou_threshold, max_keep=len(order))]


def _scores(rows: Tensor, *, multi_label: bool, classes: Sequence[int] | None) -> Tensor:
    """(N, K) objectness times class score; 0 where the class is not the best one of its row, or is not asked for."""
    scores = rows[:, 5:] * rows[:, 4:5]
    if not multi_label:
        best = scores.argmax(dim=1, keepdim=True)
        scores = torch.zeros_like(scores).scatter_(1, best, scores.gather(1, best))
    if classes is not None:
        class_ids = torch.arange(scores.shape[1], device=rows.device)
        is_wanted = torch.isin(class_ids, torch.tensor(list(classes), dtype=torch.int64, device=rows.device))
        scores = scores * is_wanted
    return scores


def _best_first(scores: Tensor, limit: int) -> Tensor:
    """Positions of the `limit` highest scores, highest first, equal ones in the order given."""
    if len(scores) <= limit:
        return torch.argsort(scores, descending=True, stable=True)
    lowest = torch.topk(scores, limit, sorted=False).values.min()
    contenders = (scores >= lowest).nonzero().squeeze(1)
    return contenders[torch.argsort(scores[contenders], descending=True, stable=True)[:limit]]


def _greedy(boxes: Tensor, class_ids: Tensor | None, iou_threshold: float, *, max_keep: int) -> Tensor:
    """Positions of the first `max_keep` boxes that survive, from boxes sorted best first.

    Works through the boxes in blocks, so that time is spent on the boxes kept and not on all pairs: a block loses
    what the boxes kept so far suppress, then settles the rest within itself. It stops as soon as enough are kept.
    """
    block = CPU_BLOCK if boxes.device.type == "cpu" else GPU_BLOCK
    class_ids = None if class_ids is None else class_ids.float()
    kept = torch.zeros(0, dtype=torch.int64, device=boxes.device)
    for start in range(0, len(boxes), block):
        rows = torch.arange(start, min(start + block, len(boxes)), device=boxes.device)
        for tile in range(0, len(kept), 4 * block):
            rows = rows[_iou(boxes, class_ids, kept[tile : tile + 4 * block], rows).amax(dim=0) <= iou_threshold]
        iou = _iou(boxes, class_ids, rows, rows).triu_(diagonal=1)
        kept = torch.cat([kept, rows[_survivors(iou, iou_threshold)]])
        if len(kept) >= max_keep:
            break
    return kept[:max_keep]


def _survivors(iou: Tensor, iou_threshold: float) -> Tensor:
    """(n,) flags of the boxes that greedy suppression keeps, from their (n, n) IoU, of which the upper half is set.

    Only earlier boxes suppress later ones. Guess that all survive, and repeat: those survive that overlap no
    survivor. After round r the first r boxes are right for good, so the guess settles on the one greedy answer, as a
    rule in a handful of rounds (the longest chain of overlaps).
    """
    alive = torch.ones(len(iou), dtype=torch.bool, device=iou.device)
    while len(iou):
        updated = (iou * alive[:, None]).amax(dim=0) <= iou_threshold
        if torch.equal(updated, alive):
            break
        alive = updated
    return alive


def _iou(boxes: Tensor, class_ids: Tensor | None, first: Tensor, second: Tensor) -> Tensor:
    """(F, S) IoU of box `first[i]` and box `second[j]`; not above 0 where the classes differ or an area is 0.

    Arithmetic in place and maxima in place of comparisons: on a CPU those are ten times slower than this.
    """
    x1, y1, x2, y2 = boxes[first].T[:, :, None]
    other_x1, other_y1, other_x2, other_y2 = boxes[second].T[:, None, :]
    width = torch.minimum(x2, other_x2).sub_(torch.maximum(x1, other_x1)).clamp_(min=0)
    height = torch.minimum(y2, other_y2).sub_(torch.maximum(y1, other_y1)).clamp_(min=0)
    overlap = width.mul_(height)
    area = (x2 - x1) * (y2 - y1)
    other_area = (other_x2 - other_x1) * (other_y2 - other_y1)
    iou = overlap.div_((area + other_area).sub_(overlap).clamp_(min=torch.finfo(overlap.dtype).tiny))
    if class_ids is not None:
        iou.sub_((class_ids[first][:, None] - class_ids[second]).abs_())  # by 0 or by 1 and more: exact
    return iou


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingsError(f"setting `{name}` is {value}; expected a number from 0 to 1")
