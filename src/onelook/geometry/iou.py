"""Overlap of boxes, computed here only: all pairs, matched pairs, COCO's rule, and what the box loss needs.

Letters: N, M boxes. In the flavours for the loss, coordinates beyond 1e9 are treated as 1e9 and negative sizes as 0, so
that every value and every gradient is finite for every finite input.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

EPSILON = 1e-7
LARGEST = 1e9
SMALLEST_AREA = 1e-38

Floats = npt.NDArray[np.float64]
ArrayT = TypeVar("ArrayT", npt.NDArray[Any], Tensor)
_Boxes = tuple[Tensor, Tensor]


def box_iou(boxes_a_xyxy: ArrayT, boxes_b_xyxy: ArrayT) -> ArrayT:
    """IoU of every box of A with every box of B, (N, M), 0 to 1.

    Args:
        boxes_a_xyxy: (N, 4) corners, NumPy or torch, floating; below 1e18, or areas overflow.
        boxes_b_xyxy: (M, 4) corners, same unit.

    Two boxes without any area overlap by 0, even if they are the same.

    >>> box_iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]])).round(decimals=4)
    tensor([[0.3333]])
    """
    return paired_iou(boxes_a_xyxy[:, None], boxes_b_xyxy[None])


def paired_iou(boxes_a_xyxy: ArrayT, boxes_b_xyxy: ArrayT) -> ArrayT:
    """IoU of box pairs, 0 to 1: (..., 4) corners that broadcast against each other; see `box_iou`."""
    xp: Any = torch if isinstance(boxes_a_xyxy, Tensor) else np
    a, b = boxes_a_xyxy, boxes_b_xyxy
    overlap = xp.minimum(a[..., 2], b[..., 2])
    overlap -= xp.maximum(a[..., 0], b[..., 0])
    height = xp.minimum(a[..., 3], b[..., 3])
    height -= xp.maximum(a[..., 1], b[..., 1])
    overlap *= xp.clip(height, 0, None, out=height)  # in place: the table of a crowded image is large
    xp.clip(overlap, 0, None, out=overlap)
    union = _area(a) + _area(b) - overlap
    overlap /= xp.clip(union, SMALLEST_AREA, None, out=union)
    result: ArrayT = overlap
    return result


def coco_iou(boxes_xywh: Floats, labels_xywh: Floats, is_crowd: npt.NDArray[np.bool_]) -> Floats:
    """(N,) overlap of matched pairs of `xywh` boxes with the very arithmetic of pycocotools; 0 where they do not touch.

    Args:
        boxes_xywh: (N, 4) of detections.
        labels_xywh: (N, 4) of labels.
        is_crowd: (N,) where set, the overlap is a share of the detection's own area.
    """
    low = np.maximum(boxes_xywh[:, :2], labels_xywh[:, :2])
    high = np.minimum(boxes_xywh[:, :2] + boxes_xywh[:, 2:], labels_xywh[:, :2] + labels_xywh[:, 2:])
    side = np.maximum(high - low, 0)
    overlap = side[:, 0] * side[:, 1]
    area = boxes_xywh[:, 2] * boxes_xywh[:, 3]
    union = np.where(is_crowd, area, area + labels_xywh[:, 2] * labels_xywh[:, 3] - overlap)
    iou: Floats = np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)
    return iou


def iou(boxes_a_cxcywh: Tensor, boxes_b_cxcywh: Tensor) -> Tensor:
    """Intersection over union of matched pairs, (N,)."""
    a, b = _bounded(boxes_a_cxcywh), _bounded(boxes_b_cxcywh)
    return _overlap(a, b, _sides(a), _sides(b))


def ciou(boxes_a_cxcywh: Tensor, boxes_b_cxcywh: Tensor) -> Tensor:
    """Complete IoU of matched pairs, (N,): overlap, centre distance and shape (Zheng et al. 2020, section 4).

    Boxes of more dimensions, (..., 4), broadcast against each other.
    The weight of the shape term carries no gradient, as in the paper.

    >>> box, other = torch.tensor([[10.0, 10.0, 4.0, 6.0]]), torch.tensor([[11.0, 12.0, 5.0, 5.0]])
    >>> ciou(box, other).round(decimals=4)
    tensor([0.2752])
    """
    a, b = _bounded(boxes_a_cxcywh), _bounded(boxes_b_cxcywh)
    (low_a, high_a), (low_b, high_b) = sides_a, sides_b = _sides(a), _sides(b)
    overlap = _overlap(a, b, sides_a, sides_b)
    enclosing_wh = torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)
    distance_sq = (b[0] - a[0]).square().sum(dim=-1)
    shape = (4 / math.pi**2) * (_aspect_angle(b[1]) - _aspect_angle(a[1])).square()
    with torch.no_grad():
        weight = shape / (shape - overlap + (1 + EPSILON)).clamp(min=EPSILON)
    return overlap - distance_sq / (enclosing_wh.square().sum(dim=-1) + EPSILON) - weight * shape


def _sides(boxes: _Boxes) -> _Boxes:
    """Left upper and right lower corners."""
    centres, sizes_wh = boxes
    half = sizes_wh / 2
    return centres - half, centres + half


def _overlap(a: _Boxes, b: _Boxes, sides_a: _Boxes, sides_b: _Boxes) -> Tensor:
    (low_a, high_a), (low_b, high_b) = sides_a, sides_b
    intersection = _product((torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0))
    union = _product(a[1]) + _product(b[1]) - intersection + EPSILON
    return (intersection / union).clamp(max=1)  # corners are rounded, and identical boxes came out above 1


def _aspect_angle(sizes_wh: Tensor) -> Tensor:
    """atan(width / height), (N,); a height of 0 counts as `EPSILON`."""
    width, height = sizes_wh.unbind(dim=-1)
    return torch.atan(width / height.clamp(min=EPSILON))


def _bounded(boxes_cxcywh: Tensor) -> _Boxes:
    """Centres and sizes."""
    centres, sizes_wh = torch.split(boxes_cxcywh, 2, dim=-1)
    return centres.clamp(-LARGEST, LARGEST), sizes_wh.clamp(0, LARGEST)


def _product(sizes_wh: Tensor) -> Tensor:
    width, height = sizes_wh.unbind(dim=-1)
    return width * height


def _area(boxes_xyxy: Any) -> Any:
    return (boxes_xyxy[..., 2] - boxes_xyxy[..., 0]) * (boxes_xyxy[..., 3] - boxes_xyxy[..., 1])
