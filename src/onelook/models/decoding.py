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
from torch.nn.functional import softplus

from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.models.rivals import leads_of_rivals

Rule = Literal["anchors", "points", "shared", "distances", "shared-distances"]
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
        rule: "anchors": sizes are multiples of anchor boxes; "points": they are powers of e, in cells; "distances":
            distances in cells from the middle of the cell to the sides, without objectness; "shared",
            "shared-distances": like these two with a second objectness, see `shared_scores`.
        strides: pixels per cell of each map.
        anchors: (width, height) of the anchors of each map, pixels; empty without anchors.
    """

    rule: Rule
    strides: tuple[float, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()

    @property
    def boxes_per_cell(self) -> int:
        """A."""
        return len(self.anchors[0]) if self.anchors else 1

    @property
    def outputs_before_classes(self) -> int:
        """Outputs of a box before its classes: four numbers, and an objectness for each branch that has one."""
        return {"distances": 4, "shared": 6}.get(self.rule, 5)

    @property
    def is_shared(self) -> bool:
        """Whether boxes and classes are those of another branch."""
        return self.rule.startswith("shared")


def decoded(raw_maps: Sequence[Tensor], decoding: Decoding) -> Tensor:
    """Boxes and scores in float32, (B, sum of A*H*W, 5 + K): cxcywh in pixels of the input, then probabilities.

    Args:
        raw_maps: L tensors (B, A, H, W, 5 + K).

    Returns:
        rows in the order map, box of the cell, row, column.
    """
    if decoding.is_shared:
        return decode_shared(raw_maps, decoding)
    parts = []
    for number, (raw_map, stride) in enumerate(zip(raw_maps, decoding.strides, strict=True)):
        if decoding.rule == "anchors":
            anchors_px = torch.tensor(decoding.anchors[number], device=raw_map.device)
            parts.append(decode_anchors(raw_map, anchors_px, stride))
        elif decoding.rule == "distances":
            parts.append(decode_distances(raw_map, stride))
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


def decode_shared(raw_maps: Sequence[Tensor], decoding: Decoding) -> Tensor:
    """Boxes and scores of all maps of the branch that needs no NMS and shares all but an objectness with the first.

    Args:
        raw_maps: L tensors (B, 1, H, W, 6 + K): box as for `decode_points`, logits of its own objectness, of that of
            the first branch, and of the classes; or (B, 1, H, W, 5 + K): box as for `decode_distances`, logits of its
            own objectness and of the classes.
    """
    values, strides = [raw_map.float() for raw_map in raw_maps], decoding.strides
    boxes = _boxes_in_coarsest_cells(values, decoding)
    scores = _agreed_scores(values, boxes, decoding)
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


def decode_distances(raw_map: Tensor, stride: float) -> Tensor:
    """Boxes and scores of one map of a distance head, (B, H*W, 5 + K) float32, with an objectness of 1.

    Args:
        raw_map: (B, 1, H, W, 4 + K): cells from the middle of the cell to left, top, right and bottom, logits.
    """
    values = raw_map.float()
    scores = (torch.ones_like(values[..., :1]), values[..., 4:].sigmoid())
    return torch.cat((_boxes_of_distances(values, stride), *scores), dim=-1).flatten(1, 3)


def _boxes_of_distances(values: Tensor, stride: float) -> Tensor:
    middles = _corners(values) + 0.5
    low, high = middles - values[..., 0:2], middles + values[..., 2:4]
    return torch.cat(((low + high) / 2 * stride, (high - low) * stride), dim=-1)


def shared_scores(raw_maps: Sequence[Tensor], decoding: Decoding) -> list[tuple[Tensor, Tensor]]:
    """Objectness (B, 1, H, W, 1) and class probabilities (B, 1, H, W, K) of each map of `decode_shared`.

    The objectness of the first branch was trained on all cells of an object, so it tells best whether there is one. The
    head's own objectness was trained on one cell per object, so it tells best which cell that is. Their weighted
    geometric mean gives the first most of the weight. Where neighbours have found the same object, all but the surest
    are multiplied by the eighth power of their ratio to it; see `leads_of_rivals`. Where the first branch has no
    objectness, its surest class says how sure it is, and the mean leaves it out, since it is in the class score.

    Args:
        raw_maps: L tensors as for `decode_shared`, float32.
    """
    return _agreed_scores(raw_maps, _boxes_in_coarsest_cells(raw_maps, decoding), decoding)


def _boxes_in_coarsest_cells(raw_maps: Sequence[Tensor], decoding: Decoding) -> list[Tensor]:
    """Boxes cxcywh of each map in cells of the coarsest map: areas in pixels may overflow 16 bits."""
    cells = [stride / decoding.strides[-1] for stride in decoding.strides]
    if decoding.rule == "shared-distances":
        return [_boxes_of_distances(one, cell) for one, cell in zip(raw_maps, cells, strict=True)]
    return [boxes_of_points(one, _corners(one), cell) for one, cell in zip(raw_maps, cells, strict=True)]


def _agreed_scores(
    raw_maps: Sequence[Tensor], boxes: Sequence[Tensor], decoding: Decoding
) -> list[tuple[Tensor, Tensor]]:
    before_classes = decoding.outputs_before_classes
    classes = [values[..., before_classes:] for values in raw_maps]
    logarithms = [-softplus(-values[..., 4:before_classes]) for values in raw_maps]  # of one or both probabilities
    has_objectness = decoding.rule == "shared"
    planes = []
    for logits, logs, box in zip(classes, logarithms, boxes, strict=True):
        surest, class_ids = logits.max(dim=-1, keepdim=True)
        first = logs[..., 1:] if has_objectness else -softplus(-surest)
        plane = torch.cat((cxcywh_to_xyxy(box), class_ids.float(), logs[..., :1] + first), dim=-1)
        planes.append(plane[:, 0].permute(0, 3, 1, 2))
    factors = [round(coarse / fine) for fine, coarse in pairwise(decoding.strides)]
    scores = []
    for logits, logs, lead in zip(classes, logarithms, leads_of_rivals(planes, factors), strict=True):
        own = logs[..., :1]
        mean = torch.lerp(logs[..., 1:], own, _OWN_SHARE) if has_objectness else own * _OWN_SHARE
        objectness = (mean - _SHARPNESS * lead.permute(0, 2, 3, 1)[:, None]).exp()
        scores.append((objectness, logits.sigmoid()))
    return scores


def _corners(raw_map: Tensor) -> Tensor:
    """(H, W, 2) column and row of each cell."""
    height, width = raw_map.shape[2:4]
    columns = torch.arange(width, device=raw_map.device, dtype=torch.float32).expand(height, width)
    rows = torch.arange(height, device=raw_map.device, dtype=torch.float32)[:, None].expand(height, width)
    return torch.stack((columns, rows), dim=-1)


def confidences(predictions: Tensor) -> Tensor:
    """Of predictions (B, N, 5 + K), (B, N, K): objectness times class score."""
    return predictions[..., 4:5] * predictions[..., 5:]
