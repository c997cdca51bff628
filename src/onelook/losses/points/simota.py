"""SimOTA: which points answer for a target, by what they cost now. Ge et al., YOLOX, 2021, section 2, with two changes.

Candidates are the points around the middle of the target alone, and a target that loses them all gets one back.
Letters: B images, L maps, M targets, n pairs, K classes, P points of an image, R ranks of a shortlist.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
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
IOU_WEIGHT = 3.0
MOST_POINTS = 10
_LEAST_IOU = 1e-8
_LEAST_LOG = -100.0
_LARGEST_TABLE, _TABLE = 2**24, {"cpu": 2**17}
"""Overlaps that are worked out together: 64 MiB of them, and on a CPU what fits into its cache."""


def centre_regions(boxes_xyxy: Floats, strides: Sequence[float]) -> Floats:
    """(L, M, 4) corners of the squares around the middle of (M, 4) boxes in which their candidates lie, pixels."""
    centres = (boxes_xyxy[:, 0:2] + boxes_xyxy[:, 2:4]) / 2
    radius = CENTRE_RADIUS * np.array(strides, dtype=np.float64)[:, None, None]
    return np.concatenate([centres - radius, centres + radius], axis=2)


def pair_costs(objectness: Tensor, classes: Tensor, class_ids: Tensor, ious: Tensor) -> Tensor:
    """(n,) what it costs a point to answer for a target: how wrong its class and its box are now.

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
    """(M,) int64 how many points each target is to get: what its ten best overlaps add up to, rounded down, at least 1.

    All candidates of its image count, those of other targets too.

    Args:
        boxes_xyxy: (M, 4) targets, pixels.
        predicted_xyxy: (n, 4) what the point of each pair predicts, pixels.
        num_images: B.
    """
    candidates = _candidates_by_image(targets, predicted_xyxy, num_images)  # (B, 1, N, 4)
    num_seats = num_images * targets.most_targets
    seats = boxes_xyxy.new_zeros(num_seats + 1, 4).index_put_((targets.seat,), boxes_xyxy)
    seats = seats[:num_seats].view(num_images, -1, 1, 4)  # (B, G, 1, 4)
    at_once = max(_TABLE.get(seats.device.type, _LARGEST_TABLE) // (num_images * candidates.shape[2]), 1)
    wanted = []
    for some in torch.split(seats, at_once, dim=1):
        ious = paired_iou(some, candidates)
        best = ious.topk(min(MOST_POINTS, ious.shape[2]), dim=2).values
        wanted.append(best.sum(dim=2).long().clamp(min=1))
    return torch.cat(wanted, dim=1).flatten()[targets.seat.clamp(max=num_seats - 1)]


def _candidates_by_image(targets: PointTargets, predicted_xyxy: Tensor, num_images: int) -> Tensor:
    """(B, 1, N, 4) what the candidates of each image predict, each point once; empty boxes behind them."""
    pairs = targets.pairs
    num_pairs, num_points = len(pairs.place), pairs.num_places // num_images
    most = targets.most_points
    number = torch.arange(num_pairs, device=pairs.place.device)
    first = number.new_full((pairs.num_places,), num_pairs).scatter_reduce_(0, pairs.place, number, "amin")
    first = first.view(num_images, num_points)
    column = torch.where(first < num_pairs, (first < num_pairs).cumsum(dim=1) - 1, most)
    chosen = number.new_full((num_images, most + 1), num_pairs).scatter_(1, column, first)[:, :most]
    # Where an image has fewer candidates, the last row stands: a box without area overlaps nothing.
    return F.pad(predicted_xyxy, (0, 0, 0, 1)).T.contiguous()[:, chosen].movedim(0, -1)[:, None]


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
