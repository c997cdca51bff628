"""A head that predicts at each point the distances to the four sides of a box and its class: no anchors, no objectness.

Feng et al., TOOD, 2021, without its task interaction. Boxes and classes have branches of their own; that of the classes
is light, as Wang et al., YOLOv10, 2024, section 3.2, found it can be. Nothing is shared between maps.

Letters: B images, L maps, H x W cells, K classes, s pixels per cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from onelook.models.convolutions import Conv, DSConv
from onelook.models.decoding import Rule
from onelook.models.point_head import RARE, OneObject, Parts, PointHead

NUM_SIDES = 4
FIRST_DISTANCE = 2.0
"""Cells from a point to each side of its box before any training, so that boxes overlap the targets."""
_SMALL_WEIGHT = 0.01
# Points per object and points of a 640 pixel image: their ratio estimates how often a class is present at a point.
_POINTS_OF_OBJECT, _POINTS_OF_IMAGE = 4, 8400
_LEAST_SHARE, _LARGEST_SHARE = 1e-4, 0.05


class DistanceHead(PointHead):
    """Per map two branches of two 3x3 convolutions, dense for the box and depth-wise separable for the classes.

    Args:
        channels_in: input channels of each of the L maps.
        box_width, class_width: channels of the branches.
        one_to_one: have a second objectness, see `OneObject`.
    """

    rule: Rule = "distances"
    last_convolutions: tuple[str, ...] = ("box_preds", "cls_preds")

    def __init__(
        self,
        channels_in: Sequence[int],
        *,
        num_classes: int,
        box_width: int = 64,
        class_width: int = 128,
        one_to_one: bool = True,
    ) -> None:
        super().__init__(len(channels_in), num_classes)
        self.box_convs = nn.ModuleList(
            nn.Sequential(Conv(channels, box_width, kernel=3), Conv(box_width, box_width, kernel=3))
            for channels in channels_in
        )
        self.cls_convs = nn.ModuleList(
            nn.Sequential(DSConv(channels, class_width, kernel=3), DSConv(class_width, class_width, kernel=3))
            for channels in channels_in
        )
        self.box_preds = nn.ModuleList(nn.Conv2d(box_width, NUM_SIDES, 1) for _ in channels_in)
        self.cls_preds = nn.ModuleList(nn.Conv2d(class_width, num_classes, 1) for _ in channels_in)
        if one_to_one:
            layers = nn.ModuleList(DSConv(box_width + class_width, box_width, kernel=3) for _ in channels_in)
            self.one = OneObject(num_classes, layers, box_width, "shared-distances")

    def parts(self, features: Sequence[Tensor]) -> list[Parts]:
        """See `PointHead`: both branches before their last convolutions; distances in cells; classes."""
        found: list[Parts] = []
        for level, feature in enumerate(features):
            of_box, of_class = self.box_convs[level](feature), self.cls_convs[level](feature)
            seen = torch.cat((of_box, of_class), dim=1)
            found.append((seen, self.box_preds[level](of_box), self.cls_preds[level](of_class)))
        return found

    def initialise_outputs(self) -> None:
        """Initialise the outputs to boxes of four cells and rare classes."""
        for convolutions, bias in ((self.box_preds, FIRST_DISTANCE), (self.cls_preds, RARE)):
            for convolution in convolutions:
                nn.init.normal_(convolution.get_parameter("weight"), std=_SMALL_WEIGHT)
                convolution.get_parameter("bias").fill_(bias)

    @torch.no_grad()
    def expect_classes(self, objects_per_image: Mapping[int, float]) -> None:
        """Set the biases of untrained classes by how often they occur; see `Head`."""
        for class_id, number in objects_per_image.items():
            share = min(max(number * _POINTS_OF_OBJECT / _POINTS_OF_IMAGE, _LEAST_SHARE), _LARGEST_SHARE)
            for convolution in self.cls_preds:
                convolution.get_parameter("bias")[class_id] = math.log(share / (1 - share))
