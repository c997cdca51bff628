"""The loss of a head that predicts four distances and K classes at each point, without objectness or anchors.

Letters: B images, L maps, P points of an image, K classes, n positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from onelook.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from onelook.geometry.iou import ciou, iou
from onelook.losses.points.candidates import PointTargets, point_targets
from onelook.losses.points.grid import PointGrid, flatten_maps, point_grid
from onelook.losses.points.pairs import Pairs, Positives
from onelook.losses.points.task_aligned import choose_aligned, surrogate_regions
from onelook.losses.protocol import NOMINAL_IMAGES, FamilyLoss, LossTerms
from onelook.losses.terms import cross_entropy, objectness_targets
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Targets

# Factors on the setting `box` 0.05 that give the weights 7.5 and 1.5 of two terms; that of the classes is `cls`.
_OVERLAP_FACTOR, _DISTANCE_FACTOR = 150.0, 30.0
_NUM_SIDES = 4


class DistanceLoss(FamilyLoss):
    """Computes the loss in float32 even under autocast. It keeps nothing between calls.

    From L maps (B, 1, H, W, 4 + K): distances to left, top, right and bottom in cells, classes. One-to-one L more, in
    which the second objectness follows the distances.

    Positives are weighted by their quality (see `choose_aligned`). Every term is divided by the sum of these weights
    over the images that went through the network together, at least 1.

    The class target of a positive is the quality of its box. The boxes of an untrained model are bad, so it would learn
    little about classes. In the early part of a run the target is nearer to 1, and falls to that quality.

    Most of that term comes from the background. So `cls_softmax` adds a cross-entropy of the softmax among the classes
    of each positive, weighted like its box; the background has no part in it.

    One-to-one, the second objectness is taught a single point of each target, the one where it, class and box agree
    best; its term is divided by the number of these points.

    Args:
        strides: pixels per cell of each map.
        hyperparameters: box, obj, obj_pw, cls, cls_pw, cls_softmax, fl_gamma and label_smoothing are used.
        one_to_one: train the second objectness of a head that has one, so that no NMS is needed.
        early_share: share of the run that is the early part.
    """

    def __init__(
        self,
        strides: Sequence[float],
        *,
        num_classes: int,
        hyperparameters: Hyperparameters,
        one_to_one: bool = False,
        early_share: float = 0.0,
    ) -> None:
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.hyperparameters = hyperparameters
        self.one_to_one = one_to_one
        self.columns = ("box", "cls", "dist", *(("one_obj",) if one_to_one else ()))
        self.early_share = early_share
        self.balance, self.is_moving = torch.empty(0), False

    def prepare(self, raw_maps: Sequence[Tensor], targets: Targets, progress: float = 0.0) -> PointTargets:
        """See `FamilyLoss`."""
        prepared = point_targets(raw_maps[: len(self.strides)], targets, self.strides, surrogate_regions)
        floor = max(1 - progress / self.early_share, 0) if self.early_share else 0.0
        return replace(prepared, class_floor=torch.full((), floor, device=raw_maps[0].device))

    def terms(self, raw_maps: Sequence[Tensor], prepared: PointTargets) -> LossTerms:
        """See `FamilyLoss`."""
        settings = self.hyperparameters
        assert prepared.class_floor is not None
        with torch.autocast(raw_maps[0].device.type, enabled=False):
            first, second = raw_maps[: len(self.strides)], raw_maps[len(self.strides) :]
            grid = point_grid(first, self.strides)
            outputs = flatten_maps(first)  # (B, P, 4 + K)
            scores, ious = self.fits(outputs.detach(), prepared, grid)
            positives, quality = choose_aligned(prepared.pairs, scores, ious)
            point, weights = positives.point.flatten(), quality.flatten()
            goals, class_ids = (
                values.repeat_interleave(positives.point.shape[1], dim=0)
                for values in (prepared.boxes, prepared.class_ids)
            )
            matched = outputs.flatten(0, 1)[point]
            overlap, distance = box_terms(matched[:, :_NUM_SIDES], grid, point, goals, weights)
            logits = outputs[..., _NUM_SIDES:]
            class_index = point * self.num_classes + class_ids
            class_goals = torch.lerp(weights, positives.is_real.flatten().to(weights.dtype), prepared.class_floor)
            goal = torch.zeros_like(logits).flatten()
            goal.scatter_reduce_(0, class_index, class_goals * (1 - settings.label_smoothing), "amax")
            entropy = cross_entropy(
                logits, goal.view_as(logits), positive_weight=settings.cls_pw, focal_gamma=settings.fl_gamma
            )
            class_term = entropy.sum(dim=(1, 2)).sum() * settings.cls
            if settings.cls_softmax:
                apart = F.cross_entropy(matched[:, _NUM_SIDES:], class_ids, reduction="none")
                class_term = class_term + (apart * weights).sum() * settings.cls_softmax
            terms = torch.stack(
                [
                    overlap * (_OVERLAP_FACTOR * settings.box),
                    class_term,
                    distance * (_DISTANCE_FACTOR * settings.box),
                ]
            ) / weights.sum().clamp(min=1)
            if self.one_to_one:
                second_term = self._second_objectness_term(second, prepared.pairs, scores, ious)
                terms = torch.cat([terms, second_term[None]])
            return LossTerms(terms.sum() * (len(outputs) / NOMINAL_IMAGES), terms.detach())

    @torch.no_grad()
    def fits(self, outputs: Tensor, prepared: PointTargets, grid: PointGrid) -> tuple[Tensor, Tensor]:
        """Of each of n pairs the probability that the point gives to the class of the target, and the overlap, (n,).

        Args:
            outputs: (B, P, 4 + K) of `flatten_maps`.
        """
        pairs = prepared.pairs
        of_pairs = outputs.flatten(0, 1)[pairs.point]
        boxes_xyxy = decode_distances(of_pairs[:, :_NUM_SIDES], grid, pairs.point)
        classes = pairs.of_targets(prepared.class_ids)
        scores = of_pairs[:, _NUM_SIDES:].gather(1, classes[:, None])[:, 0].sigmoid()
        ious = iou(xyxy_to_cxcywh(boxes_xyxy), pairs.of_targets(prepared.boxes))
        return scores, ious

    def objects(self, logits: Tensor, pairs: Pairs, scores: Tensor, ious: Tensor) -> Positives:
        """The positives of the second objectness, one of each target.

        Args:
            logits: (B * P,) of the second objectness.
            scores, ious: see `fits`.
        """
        return choose_aligned(pairs, logits.sigmoid()[pairs.point] * scores, ious, one_to_one=True)[0]

    def _second_objectness_term(self, maps: Sequence[Tensor], pairs: Pairs, scores: Tensor, ious: Tensor) -> Tensor:
        settings = self.hyperparameters
        logits = flatten_maps([raw[..., _NUM_SIDES : _NUM_SIDES + 1] for raw in maps]).flatten()
        positives = self.objects(logits.detach(), pairs, scores, ious)
        is_object = positives.is_real.flatten().to(logits.dtype)
        goal = objectness_targets(is_object, positives.point.flatten(), num_cells=len(logits))
        entropy = cross_entropy(logits, goal, positive_weight=settings.obj_pw, focal_gamma=settings.fl_gamma)
        return entropy.sum() * settings.obj / is_object.sum().clamp(min=1)


def decode_distances(distances: Tensor, grid: PointGrid, point: Tensor) -> Tensor:
    """(n, 4) corners in pixels of boxes at the given points, from their distances to the sides in cells.

    Nothing keeps a distance positive: a box whose sides have swapped has no overlap, and learns from `dist`.
    """
    cells, stride_px = grid.at(point)
    return (_middles(cells) + distances * _directions(cells.dtype, cells.device)) * stride_px


def encode_distances(boxes_cxcywh: Tensor, grid: PointGrid, point: Tensor) -> Tensor:
    """(n, 4) distances in cells that `decode_distances` turns into these boxes."""
    cells, stride_px = grid.at(point)
    return (cxcywh_to_xyxy(boxes_cxcywh) / stride_px - _middles(cells)) * _directions(cells.dtype, cells.device)


def _middles(cells: Tensor) -> Tensor:
    """(n, 4) the middles of (n, 2) cells, twice."""
    return (cells + 0.5).repeat(1, 2)


@cache
def _directions(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(4,) signs of the offsets to left, top, right and bottom; made once and kept, as `point_grid`."""
    with torch.inference_mode(False):
        return torch.tensor([-1, -1, 1, 1], dtype=dtype, device=device)


def box_terms(
    distances: Tensor, grid: PointGrid, point: Tensor, goals: Tensor, quality: Tensor
) -> tuple[Tensor, Tensor]:
    """Sums over the positives of (1 - CIoU) and of the mean distance of a side in cells, weighted by their quality.

    Args:
        distances: (n, 4) as predicted.
        goals: (n, 4) boxes cxcywh, pixels.
        quality: (n,).
    """
    predicted = xyxy_to_cxcywh(decode_distances(distances, grid, point))
    difference = (distances - encode_distances(goals, grid, point)).abs().mean(dim=1)
    return ((1 - ciou(predicted, goals)) * quality).sum(), (difference * quality).sum()
