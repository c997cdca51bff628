"""Targets in pixels and the points that may answer for them: all that an assignment needs to know before it predicts.

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
from onelook.losses.points.pairs import Floats, Numbers, Pairs, on_device, pairs_inside
from onelook.structures.batch import Targets, padded_length

_SEATS = 8
"""The numbers of targets of an image that are told apart are multiples of it."""

Regions = Callable[[Floats, Sequence[float]], Floats]
"""(M, 4) targets in pixels and the strides -> (L, M, 4) corners in which the candidates lie."""


@dataclass(frozen=True)
class PointTargets:
    """The targets of a batch and their candidates, on the device and in the type of the predictions.

    Batches come in few different lengths: behind the targets follow some without candidates, behind the pairs some
    without a target.

    Attributes:
        boxes: (M, 4) cxcywh, pixels.
        class_ids: (M,) int64.
        seat: (M,) int64, image * G + number of the target in its image; B * G where a target only fills up.
        pairs: n of them.
        most_targets: G, no image has more.
        most_points: N, no image has more points that are candidates.
        are_raw_boxes_compared: as in the last part of a run.
    """

    boxes: Tensor
    class_ids: Tensor
    seat: Tensor
    pairs: Pairs
    most_targets: int
    most_points: int
    are_raw_boxes_compared: bool = False


def point_targets(
    raw_maps: Sequence[Tensor], targets: Targets, strides: Sequence[float], regions: Regions
) -> PointTargets:
    """The targets and their candidates, for the predictions that L maps (B, 1, H, W, C) hold."""
    first = raw_maps[0]
    sizes = [(raw_map.shape[2], raw_map.shape[3]) for raw_map in raw_maps]
    width, height = sizes[0][1] * strides[0], sizes[0][0] * strides[0]
    image_index, class_ids, fractions = (
        values.cpu().numpy() for values in (targets.image_index, targets.class_ids, targets.boxes)
    )
    boxes_xyxy = cxcywh_to_xyxy(fractions.astype(np.float64)) * np.array([width, height, width, height])
    place, counts = pairs_inside(regions(boxes_xyxy, strides), image_index, sizes, strides)
    seat, most_targets = _seats(image_index)
    missing = padded_length(len(image_index)) - len(image_index)
    counts = np.pad(counts, (0, missing))
    target = np.repeat(np.arange(len(counts)), counts)
    filling = (0, padded_length(len(place)) - len(place))
    seats, classes, target_of_pair, place_of_pair, first_pair, num_pairs = on_device(
        first.device,
        np.pad(seat, (0, missing), constant_values=len(first) * most_targets),
        np.pad(class_ids, (0, missing)),
        np.pad(target, filling, constant_values=len(counts)),
        np.pad(place, filling, mode="edge") if len(place) else np.zeros(filling[1], np.int64),
        np.cumsum(counts) - counts,
        counts,
    )
    dtype = torch.promote_types(first.dtype, torch.float32)
    boxes = np.pad(xyxy_to_cxcywh(boxes_xyxy), ((0, missing), (0, 0)))
    (boxes_on_device,) = on_device(first.device, boxes if dtype == torch.float64 else boxes.astype(np.float32))
    num_points = sum(height * width for height, width in sizes)
    return PointTargets(
        boxes=boxes_on_device,
        class_ids=classes,
        seat=seats,
        pairs=Pairs(target_of_pair, place_of_pair, first_pair, num_pairs, len(first) * num_points),
        most_targets=most_targets,
        most_points=min(padded_length(int(np.bincount(place // num_points, minlength=1).max())), num_points),
    )


def _seats(image_index: Numbers) -> tuple[Numbers, int]:
    """(M,) image * G + number of the target in its image, and G, which no image has more of."""
    order = np.argsort(image_index, kind="stable")
    counts = np.bincount(image_index, minlength=1)
    number = np.empty_like(image_index)
    number[order] = np.arange(len(image_index)) - np.repeat(np.cumsum(counts) - counts, counts)
    most = -(-max(int(counts.max()), 1) // _SEATS) * _SEATS
    return image_index * most + number, most
