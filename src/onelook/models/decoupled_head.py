"""The head of YOLOX: one box per cell, no anchors, boxes and classes on branches of their own.

Ge et al., YOLOX: Exceeding YOLO Series in 2021, sections 2.2 and 2.3. Names of sub-modules are those of the published
weights.

Letters: B images, L maps, H x W cells, K classes, s pixels per cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from onelook.models.convolutions import Conv, DSConv
from onelook.models.decoding import Rule
from onelook.models.point_head import RARE, PointHead


class YoloX(PointHead):
    """Per map a 1x1 stem, then two branches of two 3x3 convolutions: classes; box and objectness.

    Args:
        channels_in: of the L maps.
        hidden_width: channels of stem and branches.
        depthwise: each 3x3 convolution is a depth-wise and a point-wise one.
        one_to_one: have a second set of all this.
    """

    rule: ClassVar[Rule] = "points"
    last_convolutions: ClassVar[tuple[str, ...]] = ("cls_preds", "reg_preds", "obj_preds")

    def __init__(
        self,
        channels_in: Sequence[int],
        *,
        num_classes: int,
        hidden_width: int = 256,
        depthwise: bool = False,
        one_to_one: bool = False,
    ) -> None:
        super().__init__(len(channels_in), num_classes)
        block = DSConv if depthwise else Conv
        width = hidden_width

        def branches() -> nn.ModuleList:
            return nn.ModuleList(
                nn.Sequential(block(width, width, kernel=3), block(width, width, kernel=3)) for _ in channels_in
            )

        def predictions(num_outputs: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(width, num_outputs, 1) for _ in channels_in)

        self.cls_convs, self.reg_convs = branches(), branches()
        self.cls_preds, self.reg_preds, self.obj_preds = predictions(num_classes), predictions(4), predictions(1)
        self.stems = nn.ModuleList(Conv(channels, width) for channels in channels_in)
        if one_to_one:
            self.one = YoloX(channels_in, num_classes=num_classes, hidden_width=hidden_width, depthwise=depthwise)
            self.one.needs_nms = False

    def flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """L tensors (B, 5 + K, H, W): x, y in cells, log width and height, logits; see `PointHead`."""
        maps = []
        for level, feature in enumerate(features):
            stem = self.stems[level](feature)
            classes = self.cls_preds[level](self.cls_convs[level](stem))
            of_box = self.reg_convs[level](stem)
            maps.append(torch.cat([self.reg_preds[level](of_box), self.obj_preds[level](of_box), classes], dim=1))
        return maps

    def initialise_outputs(self) -> None:
        """Let objects and classes start as rare."""
        for convolution in (*self.cls_preds, *self.obj_preds):
            convolution.get_parameter("bias").fill_(RARE)
