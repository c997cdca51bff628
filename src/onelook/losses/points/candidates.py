"""Targets in pixels and the points that may answer for them: all that an assignment needs to know before it predicts.

It is worked out where the targets are, normally on the CPU, so that it never waits for a GPU.
Letters: B images, L maps, H, W cells of a map, C outputs, M targets, n pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onelook.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from onelook.losses.points.pairs import Pairs, pairs_inside
from onelook.structures.batch import Targets

Regions = Callable[[Tensor, Sequence[float]], Tensor]
"""(M, 4) targets in pixels and the strides -> (L, M, 4) corners in which the candidates lie."""


@dataclass(frozen=True)
class PointCandidates:
    """The targets of a batch and their candidates, on the device and in the type of the predictions.

    Attributes:
        class_ids: (M,) int64.
        boxes: (M, 4) cxcywh, pixels.
        pairs: n of them.
        pairs_at_targets: the same on the device that the targets came from.
        image_index: (M,) int64, there too.
    """

    class_ids: Tensor
    boxes: Tensor
    pairs: Pairs
    pairs_at_targets: Pairs
    image_index: Tensor


def find_candidates(
    raw_maps: Sequence[Tensor], targets: Targets, strides: Sequence[float], regions: Regions
) -> PointCandidates:
    """The candidates of all targets, for the predictions that L maps (B, 1, H, W, C) hold."""
    first = raw_maps[0]
    sizes = [(raw_map.shape[2], raw_map.shape[3]) for raw_map in raw_maps]
    width, height = sizes[0][1] * strides[0], sizes[0][0] * strides[0]
    size = torch.tensor([width, height, width, height], dtype=torch.float64, device=targets.boxes.device)
    boxes_xyxy = cxcywh_to_xyxy(targets.boxes.double()) * size
    pairs = pairs_inside(regions(boxes_xyxy, strides), targets.image_index, sizes, strides, len(first))
    boxes = xyxy_to_cxcywh(boxes_xyxy).to(first.device, torch.promote_types(first.dtype, torch.float32))
    return PointCandidates(
        class_ids=targets.class_ids.to(first.device, non_blocking=True),
        boxes=boxes,
        pairs=pairs.to(first.device),
        pairs_at_targets=pairs,
        image_index=targets.image_index,
    )
