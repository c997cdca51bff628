"""Non-maximum suppression: exact, without a time limit.

Predictions may be on any device; boxes are compared in main memory, by NumPy, whose loops stay in the calling thread.
Torch's thread pool makes the many small steps of NMS up to 20 times slower as soon as other processes, such as those
that load images, share the cores.

Letters: B images, N rows of a prediction, K classes, n candidates or detections of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onelook.errors import SettingsError
from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.iou import box_iou

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

BLOCK = 256
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
    agnostic_nms: bool = False,
    classes: Sequence[int] | None = None,
    max_candidates: int = 30_000,
) -> list[Tensor]:
    """The detections of every image: (n, 6) float32 rows x1, y1, x2, y2, score, class, highest score first.

    A candidate's score is objectness times class score. Candidates of equal score keep the order of rows, then of
    classes. However long it takes, every image gets its result. Rows whose box is not finite, or is a billion
    pixels away, are left out.

    Args:
        predictions: (B, N, 5 + K): rows cx, cy, w, h in pixels, objectness, class scores; or what `likely_rows` gave.
        conf_thres: a candidate's objectness and score must both be above this, 0 to 1.
        iou_thres: IoU, 0 to 1, above which the box of lower score is dropped; at 1 none is.
        multi_label: every class of a row above `conf_thres` is a candidate; otherwise only its best class.
        agnostic_nms: NMS across classes instead of within each.
        classes: only these classes; None means all.
        max_candidates: largest number of candidates kept per image, the best ones.

    Raises:
        SettingsError: a threshold is outside 0 to 1.

    >>> rows = torch.tensor([[[8.0, 8.0, 4.0, 4.0, 0.9, 1.0], [8.0, 8.5, 4.0, 4.0, 0.8, 1.0]]])
    >>> non_max_suppression(rows, conf_thres=0.25, iou_thres=0.45)[0].shape
    torch.Size([1, 6])
    """
    _check_fraction("conf_thres", conf_thres)
    _check_fraction("iou_thres", iou_thres)
    found = []
    for image in likely_rows(predictions.float(), conf_thres) if isinstance(predictions, Tensor) else predictions:
        rows = image.detach().float().numpy()
        rows = rows[np.abs(rows[:, :4]).max(axis=1) < MAX_COORDINATE]
        scores = _scores(rows, multi_label=multi_label, classes=classes)
        num_classes, scores = scores.shape[1], scores.ravel()
        candidates = np.flatnonzero(scores > conf_thres)
        candidates = candidates[_best_first(scores[candidates], limit=max_candidates)]
        boxes, labels = cxcywh_to_xyxy(rows[candidates // num_classes, :4]), candidates % num_classes
        kept = greedy(boxes, None if agnostic_nms else labels, iou_threshold=iou_thres, max_keep=max_det)
        table = np.column_stack([boxes, scores[candidates], labels.astype(np.float32)])
        found.append(torch.from_numpy(table[kept]))
    return found


def _scores(rows: Floats, *, multi_label: bool, classes: Sequence[int] | None) -> Floats:
    """(N, K) objectness times class score; 0 where the class is not the best one of its row, or is not asked for."""
    scores: Floats = rows[:, 5:] * rows[:, 4:5]
    class_ids = np.arange(scores.shape[1])
    if not multi_label:
        scores = scores * (class_ids == scores.argmax(axis=1)[:, None])
    if classes is not None:
        scores = scores * np.isin(class_ids, classes)
    return scores


def _best_first(scores: Floats, *, limit: int) -> Numbers:
    """Positions of the `limit` highest scores, highest first, equal ones in the order given."""
    contenders = np.arange(len(scores))
    if len(scores) > limit:
        contenders = np.flatnonzero(scores >= np.partition(scores, -limit)[-limit])
    return contenders[np.argsort(-scores[contenders], kind="stable")[:limit]]


def greedy(boxes: Floats, labels: Numbers | None, *, iou_threshold: float, max_keep: int) -> Numbers:
    """Positions of the first `max_keep` boxes that survive, from (n, 4) boxes sorted best first and (n,) labels.

    Works through the boxes in blocks, so that time is spent on the boxes kept and not on all pairs: a block loses
    what the boxes kept so far exclude, then settles the rest within itself. It stops as soon as enough are kept.
    """
    if iou_threshold >= 1:
        return np.arange(min(len(boxes), max_keep))
    groups = None if labels is None else labels.astype(np.float32)
    kept = np.zeros(0, np.int64)
    for start in range(0, len(boxes), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(boxes)))
        for tile in range(0, len(kept), 4 * BLOCK):
            rows = rows[_iou(boxes, groups, kept[tile : tile + 4 * BLOCK], rows).max(axis=0) <= iou_threshold]
        kept = np.concatenate([kept, rows[_survivors(np.triu(_iou(boxes, groups, rows, rows), 1), iou_threshold)]])
        if len(kept) >= max_keep:
            break
    return kept[:max_keep]


def _survivors(iou: Floats, iou_threshold: float) -> npt.NDArray[np.bool_]:
    """(n,) flags of the boxes that greedy NMS keeps, from their (n, n) IoU, of which the upper half is set.

    Only earlier boxes exclude later ones. Guess that all survive, and repeat: those survive that overlap no
    survivor. After round r the first r boxes are right for good, so the guess settles on the one greedy answer, as a
    rule in a handful of rounds (the longest chain of overlaps).
    """
    alive = np.ones(len(iou), bool)
    while len(iou):
        updated = (iou * alive[:, None]).max(axis=0) <= iou_threshold
        if (updated == alive).all():
            break
        alive = updated
    return alive


def _iou(boxes: Floats, groups: Floats | None, first: Numbers, second: Numbers) -> npt.NDArray[Any]:
    """(F, S) IoU of box `first[i]` and box `second[j]`; not above 0 where the groups differ or an area is 0."""
    overlap = box_iou(boxes[first], boxes[second])
    if groups is not None:
        overlap -= np.abs(groups[first][:, None] - groups[second])  # by 0 or by 1 and more: exact
    return overlap


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingsError(f"setting `{name}` is {value}; expected a number from 0 to 1")
