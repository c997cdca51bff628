"""Raw maps -> boxes in pixels and probabilities, by plain numbers that an exported file can carry.

Letters: B images, L maps, A boxes per cell, H x W cells, K classes, s pixels per cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, softplus

from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.models.rivals import leads_of_rivals

Rule = Literal["anchors", "points", "shared", "distances"]
_SMALLEST = 1e-4
"""Smallest divisor: a normal number in 16 bits, below all scores that count."""
_SHARPNESS = 8
"""Power of the ratio by which a second cell of an object is lowered."""
_OWN_SHARE = 0.1
"""Weight of own objectness in the mean; it also lowers second cells of another class, which are no rivals."""
_LARGEST_LOG = 15.0
"""Largest log width of a box in cells: that is 3 million cells; beyond, it has no gradient and spoils no other."""


@dataclass(frozen=True)
class Decoding:
    """How raw maps become boxes.

    Attributes:
        rule: "anchors": sizes are multiples of anchor boxes; "points": they are powers of e, in cells; "shared": like
            "points" with a second objectness, see `shared_scores`; "distances": distances in cells from the middle of
            the cell to the sides, without objectness.
        strides: pixels per cell of each map.
        anchors: (width, height) of the anchors of each map, pixels; empty without anchors.
        peaks: for "distances", whether a class scores less where a neighbouring cell is surer of it, see `at_peaks`.
    """

    rule: Rule
    strides: tuple[float, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    peaks: bool = False

    @property
    def boxes_per_cell(self) -> int:
        """A."""
        return len(self.anchors[0]) if self.anchors else 1

    @property
    def outputs_before_classes(self) -> int:
        """Outputs of a box before its classes: four numbers, and an objectness for each branch that has one."""
        return {"distances": 4, "shared": 6}.get(self.rule, 5)


def decoded(raw_maps: Sequence[Tensor], decoding: Decoding) -> Tensor:
    """Boxes and scores in float32, (B, sum of A*H*W, 5 + K): cxcywh in pixels of the input, then probabilities.

    Args:
        raw_maps: L tensors (B, A, H, W, 5 + K).

    Returns:
        rows in the order map, box of the cell, row, column.
    """
    if decoding.rule == "shared":
        return decode_shared(raw_maps, decoding.strides)
    parts = []
    for number, (raw_map, stride) in enumerate(zip(raw_maps, decoding.strides, strict=True)):
        if decoding.rule == "anchors":
            anchors_px = torch.tensor(decoding.anchors[number], device=raw_map.device)
            parts.append(decode_anchors(raw_map, anchors_px, stride))
        elif decoding.rule == "distances":
            parts.append(decode_distances(raw_map, stride, peaks=decoding.peaks))
        else:
            parts.append(decode_points(raw_map, stride))
    return torch.cat(parts, dim=1)


def decode_anchors(raw_map: Tensor, anchors_px: Tensor, stride: Tensor | float) -> Tensor:
    """Boxes and scores of one map of an anchor head, (B, A*H*W, 5 + K) float32.

    A centre lies within (-0.5, 1.5) cells of its cell's corner, a side within (0, 4) times its anchor's.

    Args:
        raw_map: (B, A, H, W, 5 + K) logits.
        anchors_px: (A, 2) width, height in pixels.
    """
    scores = raw_map.float().sigmoid()
    centres = (scores[..., 0:2] * 2 - 0.5 + _corners(raw_map)) * stride
    doubled = scores[..., 2:4] * 2
    sizes = doubled * doubled * anchors_px[:, None, None, :]  # a power could not be exported to LiteRT
    return torch.cat((centres, sizes, scores[..., 4:]), dim=-1).flatten(1, 3)


def decode_points(raw_map: Tensor, stride: float) -> Tensor:
    """Boxes and scores of one map of a head without anchors, (B, H*W, 5 + K) float32: Ge et al., YOLOX, section 2.3.

    Args:
        raw_map: (B, 1, H, W, 5 + K): x, y in cells from the corner of the cell, log width and height in cells, logits.
    """
    values = raw_map.float()  # exp of more than 11 overflows 16 bits
    boxes = boxes_of_points(values, _corners(values), stride)
    return torch.cat((boxes, values[..., 4:].sigmoid()), dim=-1).flatten(1, 3)


def decode_shared(raw_maps: Sequence[Tensor], strides: Sequence[float]) -> Tensor:
    """Boxes and scores of all maps of the branch that needs no NMS and shares all but an objectness with the first.

    Args:
        raw_maps: L tensors (B, 1, H, W, 6 + K): box as for `decode_points`, logits of its own objectness, of that of
            the first branch, and of the classes.
    """
    values = [raw_map.float() for raw_map in raw_maps]
    boxes = _boxes_in_coarsest_cells(values, strides)
    scores = _agreed_scores(values, boxes, strides)
    parts = [torch.cat((box * strides[-1], *of_map), dim=-1) for box, of_map in zip(boxes, scores, strict=True)]
    return torch.cat([part.flatten(1, 3) for part in parts], dim=1)


def boxes_of_points(values: Tensor, corners: Tensor, stride: Tensor | float) -> Tensor:
    """Boxes cxcywh, (..., 4), in the unit of the stride.

    Args:
        values: (..., 4 or more) x, y in cells from the corner of the cell, log width and height in cells.
        corners: (..., 2) column and row of each cell.
        stride: size of a cell; a tensor is (..., 1).
    """
    centres = (values[..., 0:2] + corners) * stride
    return torch.cat((centres, values[..., 2:4].clamp(max=_LARGEST_LOG).exp() * stride), dim=-1)


def decode_distances(raw_map: Tensor, stride: float, *, peaks: bool) -> Tensor:
    """Boxes and scores of one map of a distance head, (B, H*W, 5 + K) float32, with an objectness of 1.

    Args:
        raw_map: (B, 1, H, W, 4 + K): cells from the middle of the cell to left, top, right and bottom, logits.
        peaks: see `at_peaks`.
    """
    values = raw_map.float()
    middles = _corners(raw_map) + 0.5
    low, high = middles - values[..., 0:2], middles + values[..., 2:4]
    classes = values[..., 4:].sigmoid()
    scores = (torch.ones_like(values[..., :1]), at_peaks(classes) if peaks else classes)
    return torch.cat(((low + high) / 2 * stride, (high - low) * stride, *scores), dim=-1).flatten(1, 3)


def shared_scores(raw_maps: Sequence[Tensor], strides: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
    """Objectness (B, 1, H, W, 1) and class probabilities (B, 1, H, W, K) of each map of `decode_shared`.

    The objectness of the first branch was trained on all cells of an object, so it tells best whether there is one. The
    head's own objectness was trained on one cell per object, so it tells best which cell that is. Their weighted
    geometric mean gives the first most of the weight. Where neighbours have found the same object, all but the surest
    are multiplied by the eighth power of their ratio to it; see `leads_of_rivals`.

    Args:
        raw_maps: L tensors (B, 1, H, W, 6 + K) float32.
    """
    return _agreed_scores(raw_maps, _boxes_in_coarsest_cells(raw_maps, strides), strides)


def _boxes_in_coarsest_cells(raw_maps: Sequence[Tensor], strides: Sequence[float]) -> list[Tensor]:
    """Boxes cxcywh of each map in cells of the coarsest map: areas in pixels may overflow 16 bits."""
    cells = [stride / strides[-1] for stride in strides]
    return [boxes_of_points(one, _corners(one), cell) for one, cell in zip(raw_maps, cells, strict=True)]


def _agreed_scores(
    raw_maps: Sequence[Tensor], boxes: Sequence[Tensor], strides: Sequence[float]
) -> list[tuple[Tensor, Tensor]]:
    logarithms = [-softplus(-values[..., 4:6]) for values in raw_maps]  # of both probabilities
    planes = []
    for values, both, box in zip(raw_maps, logarithms, boxes, strict=True):
        class_ids = values[..., 6:].argmax(dim=-1, keepdim=True).float()
        sureness = both.sum(dim=-1, keepdim=True)
        planes.append(torch.cat((cxcywh_to_xyxy(box), class_ids, sureness), dim=-1)[:, 0].permute(0, 3, 1, 2))
    factors = [round(coarse / fine) for fine, coarse in pairwise(strides)]
    scores = []
    for values, both, lead in zip(raw_maps, logarithms, leads_of_rivals(planes, factors), strict=True):
        mean = torch.lerp(both[..., 1:], both[..., :1], _OWN_SHARE)
        objectness = (mean - _SHARPNESS * lead.permute(0, 2, 3, 1)[:, None]).exp()
        scores.append((objectness, values[..., 6:].sigmoid()))
    return scores


def at_peaks(classes: Tensor) -> Tensor:
    """Scores (B, 1, H, W, K), lowered where one of the eight cells around has a higher one of the same class.

    A branch without NMS sometimes hesitates between neighbours. Keeping the maxima of a map (Zhou et al., Objects as
    Points, 2019, section 4.1) drops one of them without comparing boxes. Here the others are multiplied by the eighth
    power of their ratio to the maximum, which is as accurate and continuous: 16 bits or another order of summation
    can't change which of two equal cells is left.
    """
    planes = classes[:, 0].permute(0, 3, 1, 2)  # (B, K, H, W)
    ratio = planes / max_pool2d(planes, kernel_size=3, stride=1, padding=1).clamp(min=_SMALLEST)
    for _doubling in range(3):
        ratio = ratio * ratio  # a power could not be exported to LiteRT
    return classes * ratio.permute(0, 2, 3, 1)[:, None]


def _corners(raw_map: Tensor) -> Tensor:
    """(H, W, 2) column and row of each cell."""
    height, width = raw_map.shape[2:4]
    columns = torch.arange(width, device=raw_map.device, dtype=torch.float32).expand(height, width)
    rows = torch.arange(height, device=raw_map.device, dtype=torch.float32)[:, None].expand(height, width)
    return torch.stack((columns, rows), dim=-1)


def confidences(predictions: Tensor) -> Tensor:
    """Of predictions (B, N, 5 + K), (B, N, K): objectness times class score."""
    return predictions[..., 4:5] * predictions[..., 5:]
