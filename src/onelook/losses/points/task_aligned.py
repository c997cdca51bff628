"""Task-aligned assignment: points answer for a target where class and box agree best.

Feng et al., TOOD, 2021, section 3. Three things differ: small targets have the candidates of a larger box, ties go to
the first point, and a target that loses all its points gets one back.
Letters: L maps, M targets, n pairs or positives.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onelook.losses.points.pairs import (
    Pairs,
    Positives,
    positives_of,
    rank_within_target,
    rescue_orphans,
    settle_conflicts,
)

IOU_POWER = 6
POINTS_OF_MANY = 10
POINTS_OF_ONE = 7


def surrogate_regions(boxes_xyxy: Tensor, strides: Sequence[float]) -> Tensor:
    """(L, M, 4) corners in which the candidates of (M, 4) boxes lie, pixels: the boxes, the same on every map.

    A side below the first stride is replaced by the second stride, so that the smallest box has a point inside.
    """
    smallest = strides[0]
    replacement = strides[1] if len(strides) > 1 else 2 * strides[0]
    centres = (boxes_xyxy[:, 0:2] + boxes_xyxy[:, 2:4]) / 2
    sides = boxes_xyxy[:, 2:4] - boxes_xyxy[:, 0:2]
    half = sides.where(sides >= smallest, torch.full_like(sides, replacement)) / 2
    return torch.cat([centres - half, centres + half], dim=1).expand(len(strides), -1, -1)


def choose_aligned(
    pairs: Pairs,
    scores: Tensor,
    ious: Tensor,
    *,
    one_to_one: bool = False,
    points: int | None = None,
    rescue: bool = True,
) -> tuple[Positives, Tensor]:
    """The pairs that are chosen, and how good each is.

    Each target chooses the pairs of largest alignment, score x IoU^6, even where that is 0. A point that several choose
    goes to the target that it overlaps most.

    Args:
        scores: (n,) probability that each point gives to the class of the target.
        ious: (n,) overlap of the box of each point with the target.
        one_to_one: let each target keep only its best point.
        points: how many a target chooses at first; by default 10, and 7 with `one_to_one`.
        rescue: give targets that end with nothing a point, see `rescue_orphans`.

    Returns:
        The positives, and their (n,) quality: the best point of a target has its largest overlap, the others less in
        proportion to their alignment.
    """
    scores, ious = scores.nan_to_num(nan=0.0), ious.nan_to_num(nan=0.0)
    alignment = scores * ious**IOU_POWER
    wanted = points or (POINTS_OF_ONE if one_to_one else POINTS_OF_MANY)
    chosen = settle_conflicts(pairs, rank_within_target(pairs, -alignment) < wanted, -ious)
    if one_to_one:
        kept = torch.where(chosen, -alignment, torch.inf)
        chosen = chosen & (rank_within_target(pairs, kept) == 0)
    if rescue:
        chosen = rescue_orphans(pairs, chosen, -alignment, may_take=not one_to_one)
    positives = positives_of(pairs, chosen)
    return positives, _quality(positives, alignment, ious, pairs.num_targets)


def _quality(positives: Positives, alignment: Tensor, ious: Tensor, num_targets: int) -> Tensor:
    best = alignment.new_zeros(2, num_targets)
    alignment, ious = alignment[positives.pair], ious[positives.pair]
    best_alignment = best[0].scatter_reduce(0, positives.target, alignment, "amax")[positives.target]
    best_iou = best[1].scatter_reduce(0, positives.target, ious, "amax")[positives.target]
    # The smallest normal number and no larger floor: IoU^6 is 1e-12 at an IoU of 0.01, which has to count.
    return alignment / best_alignment.clamp(min=torch.finfo(alignment.dtype).tiny) * best_iou
