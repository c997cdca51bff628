"""Task-aligned assignment: a target gets the points whose class and box suit it best.

Feng et al., TOOD, 2021, section 3. Three things differ: small targets have the candidates of a larger box, ties go to
the first point, and a target that loses all its points gets one back.
Letters: L maps, M targets, n pairs, R ranks of a shortlist, k rows of a target.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from onelook.losses.points.pairs import (
    Floats,
    Pairs,
    Positives,
    positives_of,
    rescue_orphans,
    settle_conflicts,
    shortlist,
)

IOU_POWER = 6
POINTS_OF_MANY = 10
POINTS_OF_ONE = 7


def surrogate_regions(boxes_xyxy: Floats, strides: Sequence[float]) -> Floats:
    """(L, M, 4) corners in which the candidates of (M, 4) boxes lie, pixels: the boxes, the same on every map.

    A side below the first stride is replaced by the second stride, so that the smallest box has a point inside.
    """
    smallest = strides[0]
    replacement = strides[1] if len(strides) > 1 else 2 * strides[0]
    centres = (boxes_xyxy[:, 0:2] + boxes_xyxy[:, 2:4]) / 2
    sides = boxes_xyxy[:, 2:4] - boxes_xyxy[:, 0:2]
    half = np.where(sides >= smallest, sides, replacement) / 2
    return np.broadcast_to(np.concatenate([centres - half, centres + half], axis=1), (len(strides), *boxes_xyxy.shape))


def choose_aligned(pairs: Pairs, scores: Tensor, ious: Tensor, *, one_to_one: bool = False) -> tuple[Positives, Tensor]:
    """The chosen pairs, and the quality of each.

    Each target chooses the pairs of largest alignment, score x IoU^6, even where that is 0. A point that several choose
    goes to the target that it overlaps most, and a target that ends with nothing gets another, see `rescue_orphans`.

    Args:
        scores: (n,) probability that each point gives to the class of the target.
        ious: (n,) overlap of the box of each point with the target.
        one_to_one: let each target keep only its best point.

    Returns:
        The positives, ten rows a target or one, and their (M, k) quality, 0 where they are not real: the best point of
        a target has its largest overlap, the others less in proportion to their alignment.
    """
    scores, ious = scores.nan_to_num(nan=0.0), ious.nan_to_num(nan=0.0)
    alignment = scores * ious**IOU_POWER
    wanted = POINTS_OF_ONE if one_to_one else POINTS_OF_MANY
    candidates = shortlist(pairs, -alignment)
    chosen = candidates.is_real & (candidates.ranks < wanted)
    chosen = settle_conflicts(candidates, chosen, -ious[candidates.pair])
    if one_to_one:
        chosen = chosen & (chosen.cumsum(dim=1) == 1)
    chosen = rescue_orphans(candidates, chosen, most=wanted, may_take=not one_to_one)
    positives = positives_of(candidates, chosen, 1 if one_to_one else wanted)
    return positives, _quality(positives, alignment[positives.pair], ious[positives.pair])


def _quality(positives: Positives, alignment: Tensor, ious: Tensor) -> Tensor:
    alignment, ious = alignment * positives.is_real, ious * positives.is_real
    best_alignment, best_iou = alignment.amax(dim=1, keepdim=True), ious.amax(dim=1, keepdim=True)
    # The smallest normal number and no larger floor: IoU^6 is 1e-12 at an IoU of 0.01, which has to count.
    return alignment / best_alignment.clamp(min=torch.finfo(alignment.dtype).tiny) * best_iou
