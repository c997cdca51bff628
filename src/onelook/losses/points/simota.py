"""SimOTA: which points answer for a target, by what they cost now. Ge et al., YOLOX, 2021, section 2, with two changes.

PointCandidates are the points around the middle of the target alone, and a target that loses them all gets one back.
Letters: L maps, M targets, n pairs, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows
from torch import Tensor

from onelook.geometry.iou import box_iou
from onelook.losses.points.pairs import (
    Pairs,
    Positives,
    positives_of,
    rank_within_target,
    rescue_orphans,
    settle_conflicts,
)

CENTRE_RADIUS = 1.5
IOU_WEIGHT = 3.0
MOST_POINTS = 10
_LEAST_IOU = 1e-8
_LEAST_LOG = -100.0


def centre_regions(boxes_xyxy: Tensor, strides: Sequence[float]) -> Tensor:
    """(L, M, 4) corners of the squares around the middle of (M, 4) boxes in which their candidates lie, pixels."""
    centres = (boxes_xyxy[:, 0:2] + boxes_xyxy[:, 2:4]) / 2
    radius = CENTRE_RADIUS * torch.tensor(strides, dtype=boxes_xyxy.dtype, device=boxes_xyxy.device)[:, None, None]
    return torch.cat([centres - radius, centres + radius], dim=2)


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


def points_wanted(pairs: Pairs, image_index: Tensor, boxes_xyxy: Tensor, predicted_xyxy: Tensor) -> Tensor:
    """(M,) int64 how many points each target is to get: what its ten best overlaps add up to, rounded down, at least 1.

    All candidates of its image count, those of other targets too. Costs no wait if the pairs and `image_index` are on
    the CPU.

    Args:
        image_index: (M,) int64.
        boxes_xyxy: (M, 4) targets, pixels.
        predicted_xyxy: (n, 4) what the point of each pair predicts, pixels.
    """
    wanted = torch.ones(len(image_index), dtype=torch.int64, device=predicted_xyxy.device)
    first = _first_of_each(pairs.place)
    image_of_place = image_index[pairs.target[first]]
    for image in sorted(set(image_index.tolist())):
        of_image = (image_index == image).nonzero().flatten()
        candidates = first[image_of_place == image]
        ious = box_iou(boxes_xyxy[of_image], predicted_xyxy[candidates])
        best = ious.topk(min(MOST_POINTS, len(candidates)), dim=1).values
        wanted[of_image] = best.sum(dim=1).long().clamp(min=1)
    return wanted


def _first_of_each(place: Tensor) -> Tensor:
    """Where in `place` each of its values is found first, in the order of the values."""
    order = torch.sort(place, stable=True).indices
    values = place[order]
    return order[torch.cat([torch.ones_like(values[:1], dtype=torch.bool), values[1:] != values[:-1]])]


def choose_cheapest(pairs: Pairs, costs: Tensor, wanted: Tensor, *, rescue: bool = True) -> Positives:
    """The pairs that SimOTA chooses: for each target the cheapest; a point that several want goes where it is cheapest.

    Args:
        costs: (n,) see `pair_costs`.
        wanted: (M,) see `points_wanted`.
        rescue: give targets that end with nothing their cheapest point, see `rescue_orphans`.
    """
    chosen = settle_conflicts(pairs, rank_within_target(pairs, costs) < wanted[pairs.target], costs)
    if rescue:
        chosen = rescue_orphans(pairs, chosen, costs, may_take=True)
    return positives_of(pairs, chosen)
