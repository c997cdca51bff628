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
    classes. However long it takes, every image gets its result.

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
        boxes, scores, class_ids = _candidates(rows, conf_thres=conf_thres, multi_label=multi_label, classes=classes)
        best = _best_first(scores, max_candidates)
        boxes, scores, class_ids = boxes[best], scores[best], class_ids[best]
        kept = _greedy(boxes, None if agnostic else class_ids, iou_thres, max_keep=max_det)
        found.append(torch.cat([boxes, scores[:, None], class_ids[:, None].float()], dim=1)[kept])
    return found


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """(n,) int64 positions of the boxes that plain greedy suppression keeps, highest score first.

    Boxes are taken by falling score (equal scores in the order given); one is dropped if its IoU with a box kept
    before is above the threshold. A box without area overlaps nothing.

    Args:
        boxes: (N, 4) xyxy, any unit.
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


def _candidates(
    rows: Tensor, *, conf_thres: float, multi_label: bool, classes: Sequence[int] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (n, 4) xyxy, scores (n,) and class ids (n,) of what is above the threshold in one image."""
    rows = rows[rows[:, 4] > conf_thres]
    class_scores = rows[:, 5:] * rows[:, 4:5]  # (N, K)
    if not multi_label:
        best = class_scores.argmax(dim=1, keepdim=True)
        class_scores = torch.zeros_like(class_scores).scatter_(1, best, class_scores.gather(1, best))
    is_candidate = class_scores > conf_thres
    if classes is not None:
        is_wanted = torch.zeros(class_scores.shape[1], dtype=torch.bool, device=rows.device)
        is_wanted[[class_id for class_id in classes if 0 <= class_id < len(is_wanted)]] = True
        is_candidate &= is_wanted
    row, class_ids = is_candidate.nonzero(as_tuple=True)
    return cxcywh_to_xyxy(rows[:, :4])[row], class_scores[row, class_ids], class_ids


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
    kept = torch.zeros(0, dtype=torch.int64, device=boxes.device)
    for start in range(0, len(boxes), block):
        rows = torch.arange(start, min(start + block, len(boxes)), device=boxes.device)
        if len(kept):
            rows = rows[~_overlaps(boxes, class_ids, kept, rows, iou_threshold).any(dim=0)]
        overlaps = _overlaps(boxes, class_ids, rows, rows, iou_threshold).triu_(diagonal=1)
        kept = torch.cat([kept, rows[_survivors(overlaps)]])
        if len(kept) >= max_keep:
            break
    return kept[:max_keep]


def _survivors(overlaps: Tensor) -> Tensor:
    """(n,) flags of the boxes that greedy suppression keeps, from (n, n) flags "row would suppress column".

    Only earlier boxes suppress later ones. Guess that all survive, and repeat: who is suppressed by a survivor is
    none. After round r the first r boxes are right for good, so the guess settles on the one greedy answer; most
    often that takes as many rounds as the longest chain of overlaps, a handful.
    """
    alive = torch.ones(len(overlaps), dtype=torch.bool, device=overlaps.device)
    while True:
        updated = ~(overlaps & alive[:, None]).any(dim=0)
        if torch.equal(updated, alive):
            return alive
        alive = updated


def _overlaps(boxes: Tensor, class_ids: Tensor | None, first: Tensor, second: Tensor, iou_threshold: float) -> Tensor:
    """(F, S) flags: the IoU of box `first[i]` and box `second[j]` is above the threshold, and the class is equal."""
    x1, y1, x2, y2 = boxes[first].T[:, :, None]
    other_x1, other_y1, other_x2, other_y2 = boxes[second].T[:, None, :]
    width = (torch.minimum(x2, other_x2) - torch.maximum(x1, other_x1)).clamp_(min=0)
    height = (torch.minimum(y2, other_y2) - torch.maximum(y1, other_y1)).clamp_(min=0)
    overlap = width.mul_(height)
    area = (x2 - x1) * (y2 - y1)
    other_area = (other_x2 - other_x1) * (other_y2 - other_y1)
    is_above: Tensor = overlap / (area + other_area).sub_(overlap) > iou_threshold  # 0 / 0 is nan, which is not above
    if class_ids is not None:
        is_above &= class_ids[first][:, None] == class_ids[second]
    return is_above


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingsError(f"setting `{name}` is {value}; expected a number from 0 to 1")
