"""The loss of the YOLOX head: overlap, objectness, classes, and the raw box in the last part of a run.

Ge et al., YOLOX, 2021. Letters: B images, L maps, P points of an image, K classes, n positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.iou import iou
from onelook.losses.points.candidates import PointTargets, point_targets
from onelook.losses.points.grid import PointGrid, flatten_maps, point_grid
from onelook.losses.points.pairs import Positives
from onelook.losses.points.simota import CENTRE_CELLS, centre_regions, choose_cheapest, pair_costs, points_wanted
from onelook.losses.points.task_aligned import IOU_POWER
from onelook.losses.protocol import NOMINAL_IMAGES, FamilyLoss, LossTerms
from onelook.losses.readout import OBJECTNESS, read_maps
from onelook.losses.terms import cross_entropy, objectness_targets
from onelook.models.decoding import boxes_of_points
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Targets

# Factors on the settings `box` 0.05, `obj` 1 and `cls` 0.5 that give the weights of the paper: 5, 1 and 1.
_BOX_FACTOR, _OBJECTNESS_FACTOR, _CLASS_FACTOR = 100.0, 1.0, 2.0
_FIRST_CLASS = 5
_LEAST_SIDE = 1e-6


@dataclass(frozen=True)
class Assignment:
    """Which points learn which targets.

    Attributes:
        positives: points that learn objectness, box and class, k rows of each of M targets.
        agreement: (M, k) class score x IoU^6 of each, as in task-aligned assignment, never NaN.
    """

    positives: Positives
    agreement: Tensor


class YoloxLoss(FamilyLoss):
    """Computes the loss in float32 even under autocast. It keeps nothing between calls.

    From L maps (B, 1, H, W, 5 + K): x, y, w, h, objectness, classes. One-to-one L more, in which the second objectness
    is at that point.

    The divisor of every term is the number of points that it teaches in the images that went through the network
    together, at least 1, so that the loss does not depend on how many processes share a batch.

    One-to-one, a second objectness is taught a single point of each target: of the positives, the one where it, class
    and box agree best.

    Args:
        strides: pixels per cell of each map.
        hyperparameters: box, obj, cls, cls_pw, obj_pw, fl_gamma and label_smoothing are used.
        one_to_one: train the second objectness of a head that has one, so that no NMS is needed.
        l1_from: share of the run after which the raw boxes are compared too; above 1 they never are.
        rescue: see `rescue_orphans`.
    """

    def __init__(
        self,
        strides: Sequence[float],
        *,
        num_classes: int,
        hyperparameters: Hyperparameters,
        one_to_one: bool = False,
        l1_from: float = 0.85,
        rescue: bool = True,
    ) -> None:
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.hyperparameters = hyperparameters
        self.one_to_one = one_to_one
        self.columns = ("box", "obj", "cls", "l1", *(("one_obj",) if one_to_one else ()))
        self.l1_from = l1_from
        self.rescue = rescue
        self.balance, self.is_moving = torch.empty(0), False

    def prepare(self, raw_maps: Sequence[Tensor], targets: Targets, progress: float = 0.0) -> PointTargets:
        """See `FamilyLoss`."""
        maps = raw_maps[: len(self.strides)]
        prepared = point_targets(maps, targets, self.strides, centre_regions, most_cells=CENTRE_CELLS)
        is_late = torch.full((), progress >= self.l1_from, device=raw_maps[0].device)
        return replace(prepared, are_raw_boxes_compared=is_late)

    def terms(self, raw_maps: Sequence[Tensor], prepared: PointTargets) -> LossTerms:
        """See `FamilyLoss`."""
        assert prepared.are_raw_boxes_compared is not None
        with torch.autocast(raw_maps[0].device.type, enabled=False):
            first, second = raw_maps[: len(self.strides)], raw_maps[len(self.strides) :]
            grid = point_grid(first, self.strides)
            outputs = flatten_maps(first)  # (B, P, 5 + K)
            found = self.assign(outputs.detach(), prepared, grid)
            point, is_real = found.positives.point.flatten(), found.positives.is_real.flatten().to(outputs.dtype)
            rows_each = found.positives.point.shape[1]
            goals, classes = (
                values.repeat_interleave(rows_each, dim=0) for values in (prepared.boxes, prepared.class_ids)
            )
            objectness, matched = read_maps([outputs[:, None, :, None]], point[None])
            raw_boxes, class_logits = matched[0, :, 0:4], matched[0, :, _FIRST_CLASS:]
            cells, stride_px = grid.at(point)
            overlap = iou(boxes_of_points(raw_boxes, cells, stride_px), goals)
            box = ((1 - overlap.square()) * is_real).sum()
            l1 = ((raw_boxes - encode_boxes(goals, cells, stride_px)).abs().sum(dim=1) * is_real).sum()
            num_positives = is_real.sum().clamp(min=1)
            terms = [
                box * (_BOX_FACTOR * self.hyperparameters.box) / num_positives,
                self._objectness_term(objectness, point, is_real) / num_positives,
                self._class_term(class_logits, classes, overlap.detach(), is_real) / num_positives,
                l1.where(prepared.are_raw_boxes_compared, 0) / num_positives,
            ]
            if self.one_to_one:
                terms.append(self._second_objectness_term(second, found))
            values = torch.stack(terms)
            return LossTerms(values.sum() * (len(outputs) / NOMINAL_IMAGES), values.detach())

    @torch.no_grad()
    def assign(self, outputs: Tensor, prepared: PointTargets, grid: PointGrid) -> Assignment:
        """Which points learn which targets, from what the network predicts now.

        Args:
            outputs: (B, P, 5 + K) of `flatten_maps`.
        """
        pairs = prepared.pairs
        of_pairs = outputs.flatten(0, 1)[pairs.point]
        predicted = boxes_of_points(of_pairs[:, 0:4], *grid.at(pairs.point))
        ious = iou(predicted, pairs.of_targets(prepared.boxes))
        classes = pairs.of_targets(prepared.class_ids)
        objectness, class_logits = of_pairs[:, OBJECTNESS], of_pairs[:, _FIRST_CLASS:]
        class_scores = class_logits.gather(1, classes[:, None])[:, 0].sigmoid()
        wanted = points_wanted(
            prepared, cxcywh_to_xyxy(prepared.boxes), cxcywh_to_xyxy(predicted), num_images=len(outputs)
        )
        costs = pair_costs(objectness, class_logits, classes, ious)
        positives = choose_cheapest(pairs, costs, wanted, rescue=self.rescue)
        agreement = (class_scores * ious**IOU_POWER).nan_to_num(nan=0.0)[positives.pair]
        return Assignment(positives, agreement)

    def _second_objectness_term(self, maps: Sequence[Tensor], found: Assignment) -> Tensor:
        logits = flatten_maps([raw[..., OBJECTNESS : OBJECTNESS + 1] for raw in maps]).flatten()
        is_object = self.objects(logits.detach(), found)
        point = found.positives.point.flatten()
        return self._objectness_term(logits, point, is_object.flatten().to(logits.dtype)) / is_object.sum().clamp(min=1)

    def objects(self, logits: Tensor, found: Assignment) -> Tensor:
        """(M, k) bool, the positives of the second objectness.

        Args:
            logits: (B * P,) of the second objectness.
        """
        return found.positives.best((logits.sigmoid()[found.positives.point] * found.agreement).nan_to_num(nan=0.0))

    def _objectness_term(self, logits: Tensor, points: Tensor, is_object: Tensor) -> Tensor:
        settings = self.hyperparameters
        goal = objectness_targets(is_object, points, num_cells=len(logits))
        entropy = cross_entropy(logits, goal, positive_weight=settings.obj_pw, focal_gamma=settings.fl_gamma)
        return entropy.sum() * (_OBJECTNESS_FACTOR * settings.obj)

    def _class_term(self, logits: Tensor, class_ids: Tensor, strength: Tensor, weights: Tensor) -> Tensor:
        settings = self.hyperparameters
        goal = torch.zeros_like(logits)
        goal.scatter_(1, class_ids[:, None], strength[:, None] * (1 - settings.label_smoothing))
        entropy = cross_entropy(logits, goal, positive_weight=settings.cls_pw, focal_gamma=settings.fl_gamma)
        return (entropy.sum(dim=1) * weights).sum() * (_CLASS_FACTOR * settings.cls)


def encode_boxes(boxes_cxcywh: Tensor, cells: Tensor, stride_px: Tensor) -> Tensor:
    """(n, 4) raw x, y, w, h that `boxes_of_points` turns into these boxes; an empty side counts as 1e-6 cells."""
    scaled = boxes_cxcywh / stride_px
    return torch.cat([scaled[:, 0:2] - cells, scaled[:, 2:4].clamp(min=_LEAST_SIDE).log()], dim=1)
