"""Targets in pixels and their candidate points: what the assignment needs besides the predictions.

It is worked out where the targets are, normally on the CPU, so that it never waits for a GPU.
Letters: B images, L maps, H, W cells of a map, C outputs, M targets, those that fill up included, n pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onelook.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from onelook.losses.points.pairs import Floats, Pairs, on_device, pairs_inside
from onelook.structures.batch import Targets, padded_length

_MANY_TARGETS = 512
"""From here on lengths have finer steps: large numbers of targets vary less from batch to batch."""

Regions = Callable[[Floats, Sequence[float]], Floats]
"""(M, 4) targets in pixels and the strides -> (L, M, 4) corners in which the candidates lie."""


@dataclass(frozen=True)
class PointTargets:
    """The targets of a batch and their candidates, on the device and in the type of the predictions.

    Batches come in few different lengths, since each length is recorded on its own: behind the targets follow some
    without candidates, behind the pairs some without a target.

    Attributes:
        boxes: (M, 4) cxcywh, pixels.
        class_ids: (M,) int64.
        image_index: (M,) int64.
        pairs: n pairs of a target and a point.
        most_points: N, largest number of candidate points of an image; 0 where regions may be large.
        are_raw_boxes_compared: () bool, as in the last part of a run; None where they never are.
        class_floor: () float, lower bound of the class target, annealed from 1 to 0.
    """

    boxes: Tensor
    class_ids: Tensor
    image_index: Tensor
    pairs: Pairs
    most_points: int
    are_raw_boxes_compared: Tensor | None = None
    class_floor: Tensor | None = None


def point_targets(
    raw_maps: Sequence[Tensor], targets: Targets, strides: Sequence[float], regions: Regions, *, most_cells: int = 0
) -> PointTargets:
    """The targets and their candidates, for the predictions that L maps (B, 1, H, W, C) hold.

    Args:
        regions: gives the regions in which the candidates lie.
        most_cells: cells of a map in a region of fixed size, from which n follows; 0 for regions of any size.
    """
    first = raw_maps[0]
    sizes = [(raw_map.shape[2], raw_map.shape[3]) for raw_map in raw_maps]
    width, height = sizes[0][1] * strides[0], sizes[0][0] * strides[0]
    image_index, class_ids, fractions = (
        values.cpu().numpy() for values in (targets.image_index, targets.class_ids, targets.boxes)
    )
    boxes_xyxy = cxcywh_to_xyxy(fractions.astype(np.float64)) * np.array([width, height, width, height])
    point, counts = pairs_inside(regions(boxes_xyxy, strides), image_index, sizes, strides)
    num_targets = padded_length(len(image_index), steps=2 if len(image_index) < _MANY_TARGETS else 4)
    num_pairs = most_cells * len(sizes) * num_targets or padded_length(len(point), steps=1)
    missing = num_targets - len(image_index)
    counts = np.pad(counts, (0, missing))
    target = np.repeat(np.arange(len(counts)), counts)
    filling = (0, max(num_pairs - len(point), 0))
    images, classes, target_of_pair, point_of_pair, first_pair, pairs_each = on_device(
        first.device,
        np.pad(image_index, (0, missing)),
        np.pad(class_ids, (0, missing)),
        np.pad(target, filling, constant_values=len(counts)),
        np.pad(point, filling, mode="edge") if len(point) else np.zeros(filling[1], np.int64),
        np.cumsum(counts) - counts,
        counts,
    )
    dtype = torch.promote_types(first.dtype, torch.float32)
    boxes = np.pad(xyxy_to_cxcywh(boxes_xyxy), ((0, missing), (0, 0)))
    (boxes_on_device,) = on_device(first.device, boxes if dtype == torch.float64 else boxes.astype(np.float32))
    num_points = sum(height * width for height, width in sizes)
    most_points = padded_length(int(np.bincount(point // num_points, minlength=1).max()), steps=1)
    return PointTargets(
        boxes=boxes_on_device,
        class_ids=classes,
        image_index=images,
        pairs=Pairs(target_of_pair, point_of_pair, first_pair, pairs_each, len(first) * num_points),
        most_points=min(most_points, num_points) if most_cells else 0,
    )
