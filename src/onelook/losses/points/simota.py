"""SimOTA: assigns points to targets by their current cost. Ge et al., YOLOX, 2021, section 2, with two changes.

Candidates are the points around the middle of the target alone, and a target that loses them all gets one back.
Letters: B images, L maps, M targets, n pairs, K classes, P points of an image, R ranks of a shortlist.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from onelook.geometry.iou import paired_iou
from onelook.losses.points.candidates import PointTargets
from onelook.losses.points.pairs import (
    Floats,
    Pairs,
    Positives,
    positives_of,
    rescue_orphans,
    settle_conflicts,
    shortlist,
)

CENTRE_RADIUS = 1.5
CENTRE_CELLS = 9
"""How many cells of a map have their middle within the radius, at most."""
IOU_WEIGHT = 3.0
MOST_POINTS = 10
_LEAST_IOU = 1e-8
_LEAST_LOG = -100.0
_LARGEST_TABLE, _TABLE = 2**22, {"cpu": 2**17}
"""Overlaps that are worked out together: 16 MiB of them, 64 MiB of boxes, and on a CPU what fits into its cache."""


def centre_regions(boxes_xyxy: Floats, strides: Sequence[float]) -> Floats:
    """(L, M, 4) corners of the squares around the middle of (M, 4) boxes in which their candidates lie, pixels."""
    centres = (boxes_xyxy[:, 0:2] + boxes_xyxy[:, 2:4]) / 2
    radius = CENTRE_RADIUS * np.array(strides, dtype=np.float64)[:, None, None]
    return np.concatenate([centres - radius, centres + radius], axis=2)


def pair_costs(objectness: Tensor, classes: Tensor, class_ids: Tensor, ious: Tensor) -> Tensor:
    """(n,) cost of assigning a point to a target: the current error of its class and its box.

    The first is the sum over the classes of the cross-entropy of sqrt(p(class) p(object)) with the one right class.

    Args:
        objectness: (n,) logits.
        classes: (n, K) logits.
        class_ids: (n,) int64.
        ious: (n,) overlap of the box of the point with the target.
    """
    scores = ((F.logsigmoid(classes) + F.logsigmoid(objectness)[:, None]) / 2).exp()
    others = torch.log1p(-scores).clamp(min=_LEAST_LOG)
    right = scores.gather(1, class_ids[:, None]).log().clamp(min=_LEAST_LOG) - others.gather(1, class_ids[:, None])
    costs = -(others.sum(dim=1) + right[:, 0]) - IOU_WEIGHT * (ious + _LEAST_IOU).log()
    return costs.nan_to_num(nan=torch.inf, posinf=torch.inf)


def points_wanted(targets: PointTargets, boxes_xyxy: Tensor, predicted_xyxy: Tensor, num_images: int) -> Tensor:
    """(M,) int64 number of points for each target: the sum of its ten best overlaps, rounded down, at least 1.

    All candidates of its image count, those of other targets too.

    Args:
        boxes_xyxy: (M, 4) targets, pixels.
        predicted_xyxy: (n, 4) what the point of each pair predicts, pixels.
        num_images: B.
    """
    candidates = _candidates_by_image(targets, predicted_xyxy, num_images)  # (4, B, N)
    at_once = max(_TABLE.get(boxes_xyxy.device.type, _LARGEST_TABLE) // candidates.shape[2], 1)
    wanted = []
    for boxes, image in zip(torch.split(boxes_xyxy, at_once), torch.split(targets.image_index, at_once), strict=True):
        ious = paired_iou(boxes[:, None], candidates.index_select(1, image).movedim(0, -1))  # (m, N)
        best = ious.topk(min(MOST_POINTS, ious.shape[1]), dim=1).values
        wanted.append(best.sum(dim=1).long().clamp(min=1))
    return torch.cat(wanted)


def _candidates_by_image(targets: PointTargets, predicted_xyxy: Tensor, num_images: int) -> Tensor:
    """(4, B, N) what the candidates of each image predict, each point once; empty boxes behind them."""
    pairs = targets.pairs
    num_pairs, num_points = len(pairs.point), pairs.num_points // num_images
    most = targets.most_points
    number = torch.arange(num_pairs, device=pairs.point.device)
    first = number.new_full((pairs.num_points,), num_pairs).scatter_reduce_(0, pairs.point, number, "amin")
    first = first.view(num_images, num_points)
    column = torch.where(first < num_pairs, (first < num_pairs).cumsum(dim=1) - 1, most)
    chosen = number.new_full((num_images, most + 1), num_pairs).scatter_(1, column, first)[:, :most]
    # Where an image has fewer candidates, the last row stands: a box without area overlaps nothing.
    return F.pad(predicted_xyxy, (0, 0, 0, 1)).T.contiguous()[:, chosen]


def choose_cheapest(pairs: Pairs, costs: Tensor, wanted: Tensor, *, rescue: bool = True) -> Positives:
    """The pairs that SimOTA chooses: for each target the cheapest; a point that several want goes where it is cheapest.

    Args:
        costs: (n,) see `pair_costs`.
        wanted: (M,) see `points_wanted`.
        rescue: give targets that end with nothing their cheapest point, see `rescue_orphans`.
    """
    candidates = shortlist(pairs, costs)
    chosen = candidates.is_real & (candidates.ranks < wanted[:, None])
    chosen = settle_conflicts(candidates, chosen, costs[candidates.pair])
    if rescue:
        chosen = rescue_orphans(candidates, chosen, most=MOST_POINTS, may_take=True)
    return positives_of(candidates, chosen, MOST_POINTS)
