"""The anchor loss written plainly: matches picked out one by one, each map on its own, plain indexing and means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onelook.geometry.iou import ciou
from onelook.losses.assignment import find_candidates
from onelook.losses.detection_loss import DetectionLoss
from onelook.losses.terms import class_targets, cross_entropy, decode_matches
from onelook.structures.anchors import AnchorGrid
from onelook.structures.batch import Targets


@dataclass(frozen=True)
class LayerMatches:
    """The n (target, anchor, cell) triples of one output map.

    Attributes:
        image_index, anchor_index, rows, columns: (n,) int64, the place in a (B, A, H, W) map.
        boxes: (n, 4) float32 cxcywh in cells, the centre relative to the top-left corner of the cell.
        anchors: (n, 2) float32 width, height of the matched anchor, in cells.
        class_ids: (n,) int64.
    """

    image_index: Tensor
    anchor_index: Tensor
    rows: Tensor
    columns: Tensor
    boxes: Tensor
    anchors: Tensor
    class_ids: Tensor

    def __len__(self) -> int:
        return len(self.image_index)

    @property
    def place(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Index of the matches into a (B, A, H, W, ...) map."""
        return self.image_index, self.anchor_index, self.rows, self.columns


def assign(
    targets: Targets,
    grid: AnchorGrid,
    map_sizes: Sequence[tuple[int, int]],
    *,
    anchor_t: float,
    keep_duplicates: bool = False,
) -> list[LayerMatches]:
    """The matches of every map: own cells first, then left, upper, right, lower; within these by anchor, target."""
    found = find_candidates(targets, grid, map_sizes, anchor_t=anchor_t, keep_duplicates=keep_duplicates)
    shape = found.is_match.shape
    layers = []
    for layer, is_match in enumerate(found.is_match):
        shift, anchor, target = is_match.nonzero(as_tuple=True)
        cells = found.cells.expand(*shape, 2)[layer, shift, anchor, target]
        layers.append(
            LayerMatches(
                found.image_index[target],
                anchor,
                cells[:, 1],
                cells[:, 0],
                found.boxes.expand(*shape, 4)[layer, shift, anchor, target],
                found.anchors.expand(*shape, 2)[layer, shift, anchor, target],
                found.class_ids[target],
            )
        )
    return layers


def plain_loss(loss: DetectionLoss, raw_maps: Sequence[Tensor], targets: Targets) -> tuple[Tensor, Tensor]:
    """The total with its gradient, and (3,) box, obj and cls, of what `loss` was made for."""
    settings, sizes = loss.hyperparameters, [(raw_map.shape[2], raw_map.shape[3]) for raw_map in raw_maps]
    layers = assign(targets, loss.anchor_grid, sizes, anchor_t=settings.anchor_t, keep_duplicates=loss.keep_duplicates)
    terms = torch.zeros(3)
    for raw_map, matches, weight in zip(raw_maps, layers, loss.balance, strict=True):
        objectness = torch.zeros(raw_map.shape[:4])
        if len(matches):
            rows = raw_map[matches.place]
            quality = ciou(decode_matches(rows[:, :4], matches.anchors), matches.boxes)
            for *place, overlap in zip(*matches.place, quality.detach().clamp(min=0), strict=True):
                objectness[tuple(place)] = torch.maximum(objectness[tuple(place)], overlap)
            terms = terms + torch.stack([(1 - quality).mean() * loss.box_gain, torch.zeros(()), torch.zeros(())])
            if loss.num_classes > 1:
                wanted = class_targets(matches.class_ids, loss.num_classes, label_smoothing=settings.label_smoothing)
                entropy = cross_entropy(
                    rows[:, 5:], wanted, positive_weight=settings.cls_pw, focal_gamma=settings.fl_gamma
                )
                terms = terms + torch.stack([torch.zeros(()), torch.zeros(()), entropy.mean() * loss.cls_gain])
        entropy = cross_entropy(
            raw_map[..., 4], objectness, positive_weight=settings.obj_pw, focal_gamma=settings.fl_gamma
        )
        terms = terms + torch.stack([torch.zeros(()), entropy.mean() * weight * loss.obj_gain, torch.zeros(())])
    return terms.sum() * len(raw_maps[0]), terms.detach()
