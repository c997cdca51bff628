"""Non-maximum suppression: exact, on any device, without a time limit.

Letters: B images, N rows of a prediction, K classes, n candidates or detections of one image. `xp` is the array
library of the arrays beside it: numpy for what is in main memory, torch for what is on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from onelook.errors import SettingsError
from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.iou import box_iou

Array: TypeAlias = Any
"""A NumPy array or a tensor."""

CPU_BLOCK = 256
GPU_BLOCK = 2048
MAX_COORDINATE = 1e9
"""Pixels; areas of larger boxes would overflow float32 and spoil the overlap with every other box."""


def likely_rows(predictions: Tensor, conf_thres: float) -> list[Tensor]:
    """Of every image the rows whose objectness is above `conf_thres`, in main memory: for `non_max_suppression` there.

    One filter and one transfer for all images; what NMS makes of these rows is what it makes of all.

    Args:
        predictions: (B, N, 5 + K), see `non_max_suppression`.
        conf_thres: the threshold that NMS will have, 0 to 1.
    """
    is_likely = predictions[..., 4] > conf_thres
    rows = predictions[is_likely].cpu()
    return list(torch.split(rows, is_likely.sum(dim=1).tolist()))


def non_max_suppression(
    predictions: Tensor | Sequence[Tensor],
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
        predictions: (B, N, 5 + K), or (N, 5 + K) for each image: rows cx, cy, w, h in pixels, objectness, class
            scores.
        conf_thres: a candidate's objectness and score must both be above this, 0 to 1.
        iou_thres: of two boxes with an IoU above this the one of lower score is dropped, 0 to 1; at 1 none is.
        multi_label: every class of a row above `conf_thres` is a candidate; otherwise only its best class.
        agnostic: NMS across classes instead of within each.
        classes: only these classes; None means all.
        max_candidates: most candidates per image that are kept, the best ones.

    Raises:
        SettingsError: a threshold is outside 0 to 1.

    >>> rows = torch.tensor([[[8.0, 8.0, 4.0, 4.0, 0.9, 1.0], [8.0, 8.5, 4.0, 4.0, 0.8, 1.0]]])
    >>> non_max_suppression(rows, conf_thres=0.25, iou_thres=0.45)[0].shape
    torch.Size([1, 6])
    """
    _check_fraction("conf_thres", conf_thres)
    _check_fraction("iou_thres", iou_thres)
    found = []
    for image in predictions:
        rows, xp = _with_library(image.detach().float())
        # first: to go through all boxes takes longer than all that follows
        (likely,) = xp.where(rows[:, 4] > conf_thres)
        rows = rows[likely[xp.amax(xp.abs(rows[likely, :4]), 1) < MAX_COORDINATE]]
        scores = _scores(rows, xp, multi_label=multi_label, classes=classes)
        num_classes, scores = scores.shape[1], scores.ravel()
        (candidates,) = xp.where(scores > conf_thres)
        candidates = candidates[_best_first(scores[candidates], xp, limit=max_candidates)]
        boxes, labels = cxcywh_to_xyxy(rows[candidates // num_classes, :4]), candidates % num_classes
        kept = greedy(boxes, None if agnostic else labels, xp, iou_threshold=iou_thres, max_keep=max_det)
        columns = [boxes, scores[candidates][:, None], xp.asarray(labels, dtype=xp.float32)[:, None]]
        found.append(torch.as_tensor(xp.concatenate(columns, 1)[kept]))
    return found


def _with_library(values: Tensor) -> tuple[Array, Any]:
    """`values`, as a NumPy view if they are in main memory, and the library that works on them.

    NumPy's loops stay in the calling thread. Torch's thread pool makes the many small steps of NMS up to 20
    times slower as soon as other processes, such as those that load images, share the cores.
    """
    return (values.numpy(), np) if values.device.type == "cpu" else (values, torch)


def _scores(rows: Array, xp: Any, *, multi_label: bool, classes: Sequence[int] | None) -> Array:
    """(N, K) objectness times class score; 0 where the class is not the best one of its row, or is not asked for."""
    scores = rows[:, 5:] * rows[:, 4:5]
    if multi_label and classes is None:
        return scores
    class_ids = _positions(scores.T, xp)
    if not multi_label:
        scores = scores * (class_ids == scores.argmax(1)[:, None])
    if classes is not None:
        is_wanted = xp.zeros_like(class_ids, dtype=bool)
        for class_id in classes:
            is_wanted |= class_ids == class_id
        scores = scores * is_wanted
    return scores


def _best_first(scores: Array, xp: Any, *, limit: int) -> Array:
    """Positions of the `limit` highest scores, highest first, equal ones in the order given."""
    contenders = _positions(scores, xp)
    if len(scores) > limit:
        lowest = xp.topk(scores, limit).values[-1] if xp is torch else xp.partition(scores, -limit)[-limit]
        (contenders,) = xp.where(scores >= lowest)
    falling = -scores[contenders]
    order = xp.argsort(falling, stable=True) if xp is torch else xp.argsort(falling, kind="stable")
    return contenders[order[:limit]]


def _positions(values: Array, xp: Any) -> Array:
    """0, 1, ... one per row of `values`, int64, where `values` are."""
    return xp.arange(len(values), device=values.device) if xp is torch else xp.arange(len(values), dtype=xp.int64)


def greedy(boxes: Array, labels: Array | None, xp: Any, *, iou_threshold: float, max_keep: int) -> Array:
    """Positions of the first `max_keep` boxes that survive, from (n, 4) boxes sorted best first and (n,) labels.

    Works through the boxes in blocks, so that time is spent on the boxes kept and not on all pairs: a block loses
    what the boxes kept so far exclude, then settles the rest within itself. It stops as soon as enough are kept.
    """
    if iou_threshold >= 1:
        return _positions(boxes[:max_keep], xp)
    block = GPU_BLOCK if xp is torch else CPU_BLOCK
    labels = None if labels is None else xp.asarray(labels, dtype=xp.float32)
    positions = _positions(boxes, xp)
    kept = positions[:0]
    for start in range(0, len(boxes), block):
        rows = positions[start : start + block]
        for tile in range(0, len(kept), 4 * block):
            iou = _iou(boxes, labels, kept[tile : tile + 4 * block], rows, xp)
            rows = rows[xp.amax(iou, 0) <= iou_threshold]
        iou = xp.triu(_iou(boxes, labels, rows, rows, xp), 1)
        kept = xp.concatenate([kept, rows[_survivors(iou, iou_threshold, xp)]])
        if len(kept) >= max_keep:
            break
    return kept[:max_keep]


def _survivors(iou: Array, iou_threshold: float, xp: Any) -> Array:
    """(n,) flags of the boxes that greedy NMS keeps, from their (n, n) IoU, of which the upper half is set.

    Only earlier boxes exclude later ones. Guess that all survive, and repeat: those survive that overlap no
    survivor. After round r the first r boxes are right for good, so the guess settles on the one greedy answer, as a
    rule in a handful of rounds (the longest chain of overlaps).
    """
    alive = xp.ones_like(xp.diagonal(iou), dtype=bool)
    while len(iou):
        updated = xp.amax(iou * alive[:, None], 0) <= iou_threshold
        if not (updated != alive).any():
            break
        alive = updated
    return alive


def _iou(boxes: Array, labels: Array | None, first: Array, second: Array, xp: Any) -> Array:
    """(F, S) IoU of box `first[i]` and box `second[j]`; not above 0 where the labels differ or an area is 0."""
    overlap = box_iou(boxes[first], boxes[second])
    if labels is not None:
        overlap -= xp.abs(labels[first][:, None] - labels[second])  # by 0 or by 1 and more: exact
    return overlap


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingsError(f"setting `{name}` is {value}; expected a number from 0 to 1")
