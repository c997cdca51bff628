"""The loss of a head that predicts four distances and K classes at each point, without objectness or anchors.

Letters: B images, L maps, P points of an image, K classes, n positives.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onelook.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from onelook.geometry.iou import ciou, iou
from onelook.losses.points.candidates import find_candidates
from onelook.losses.points.grid import PointGrid, flatten_maps, point_grid
from onelook.losses.points.pairs import Positives
from onelook.losses.points.task_aligned import choose_aligned, surrogate_regions
from onelook.losses.protocol import NOMINAL_IMAGES, LossTerms
from onelook.losses.terms import cross_entropy
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Targets

# Factors on the settings `box` 0.05 and `cls` 0.5 that give the weights 7.5, 1.5 and 0.5 of the three terms.
_OVERLAP_FACTOR, _DISTANCE_FACTOR, _CLASS_FACTOR = 150.0, 30.0, 1.0
_NUM_SIDES = 4


class DistanceLoss:
    """Computes the loss from raw maps and targets, in float32 even under autocast. It keeps nothing between calls.

    Positives weigh what they are worth (see `choose_aligned`). Every term is divided by the sum of these weights over
    the images that went through the network together, at least 1.

    Args:
        strides: pixels per cell of each map.
        hyperparameters: box, cls, cls_pw, fl_gamma and label_smoothing are used.
        one_to_one: let one point only learn each target, so that no NMS is needed.
    """

    columns: tuple[str, ...] = ("box", "cls", "dist")

    def __init__(
        self, strides: Sequence[float], *, num_classes: int, hyperparameters: Hyperparameters, one_to_one: bool = False
    ) -> None:
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.hyperparameters = hyperparameters
        self.one_to_one = one_to_one
        self.balance = torch.empty(0)  # nothing moves

    def __call__(self, raw_maps: Sequence[Tensor], targets: Targets, progress: float = 0.0) -> LossTerms:
        """The loss of B images, see `FamilyLoss`; it is the same at any progress.

        Args:
            raw_maps: L maps (B, 1, H, W, 4 + K): distances to left, top, right and bottom in cells, classes.
        """
        settings = self.hyperparameters
        with torch.autocast(raw_maps[0].device.type, enabled=False):
            grid = point_grid(raw_maps, self.strides)
            outputs = flatten_maps(raw_maps)  # (B, P, 4 + K)
            positives, class_ids, goals, quality = self.assign(raw_maps, targets)
            overlap, distance = box_terms(
                outputs.flatten(0, 1)[positives.place][:, :_NUM_SIDES], grid, positives.place, goals, quality
            )
            logits = outputs[..., _NUM_SIDES:]
            goal = torch.zeros_like(logits)
            goal.view(-1, self.num_classes)[positives.place, class_ids] = quality * (1 - settings.label_smoothing)
            entropy = cross_entropy(logits, goal, positive_weight=settings.cls_pw, focal_gamma=settings.fl_gamma)
            terms = torch.stack(
                [
                    overlap * (_OVERLAP_FACTOR * settings.box),
                    entropy.sum(dim=(1, 2)).sum() * (_CLASS_FACTOR * settings.cls),
                    distance * (_DISTANCE_FACTOR * settings.box),
                ]
            ) / quality.sum().clamp(min=1)
            return LossTerms(terms.sum() * (len(outputs) / NOMINAL_IMAGES), terms.detach())

    @torch.no_grad()
    def assign(self, raw_maps: Sequence[Tensor], targets: Targets) -> tuple[Positives, Tensor, Tensor, Tensor]:
        """Which points learn which targets.

        Returns:
            The n positives; the class and the box, (n, 4) cxcywh in pixels, that each answers for; their quality.
        """
        candidates = find_candidates(raw_maps, targets, self.strides, surrogate_regions)
        pairs = candidates.pairs
        outputs = flatten_maps(raw_maps).flatten(0, 1)[pairs.place]
        boxes_xyxy = decode_distances(outputs[:, :_NUM_SIDES], point_grid(raw_maps, self.strides), pairs.place)
        classes = candidates.class_ids[pairs.target]
        scores = outputs[:, _NUM_SIDES:].gather(1, classes[:, None])[:, 0].sigmoid()
        ious = iou(xyxy_to_cxcywh(boxes_xyxy), candidates.boxes[pairs.target])
        positives, quality = choose_aligned(pairs, scores, ious, one_to_one=self.one_to_one)
        return positives, candidates.class_ids[positives.target], candidates.boxes[positives.target], quality


def decode_distances(distances: Tensor, grid: PointGrid, place: Tensor) -> Tensor:
    """(n, 4) corners in pixels of boxes at the given places, from their distances to the sides in cells.

    Nothing keeps a distance positive: a box whose sides have changed places has no overlap, and learns from `dist`.
    """
    cells, stride_px = grid.at(place)
    centres = cells + 0.5
    corners = torch.cat([centres - distances[:, 0:2], centres + distances[:, 2:4]], dim=1)
    return corners * stride_px[:, None]


def encode_distances(boxes_cxcywh: Tensor, grid: PointGrid, place: Tensor) -> Tensor:
    """(n, 4) distances in cells that `decode_distances` turns into these boxes."""
    cells, stride_px = grid.at(place)
    centres = cells + 0.5
    corners = cxcywh_to_xyxy(boxes_cxcywh) / stride_px[:, None]
    return torch.cat([centres - corners[:, 0:2], corners[:, 2:4] - centres], dim=1)


def box_terms(
    distances: Tensor, grid: PointGrid, place: Tensor, goals: Tensor, quality: Tensor
) -> tuple[Tensor, Tensor]:
    """Sums over the positives of (1 - CIoU) and of the mean distance of a side in cells, weighted by their quality.

    Args:
        distances: (n, 4) as predicted.
        goals: (n, 4) boxes cxcywh, pixels.
        quality: (n,).
    """
    predicted = xyxy_to_cxcywh(decode_distances(distances, grid, place))
    difference = (distances - encode_distances(goals, grid, place)).abs().mean(dim=1)
    return ((1 - ciou(predicted, goals)) * quality).sum(), (difference * quality).sum()
