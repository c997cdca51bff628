"""The head of YOLOX: one box per cell, no anchors, boxes and classes on branches of their own.

Ge et al., YOLOX: Exceeding YOLO Series in 2021, sections 2.2 and 2.3. Names of sub-modules are those of the published
weights.

Letters: B images, L maps, H x W cells, K classes, s pixels per cell.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from onelook.models.convolutions import Conv, DSConv
from onelook.models.decoding import Rule
from onelook.models.point_head import OneObject, Parts, PointHead, expect_little


class YoloX(PointHead):
    """Per map a 1x1 stem, then two branches of two 3x3 convolutions: classes; box and objectness.

    Args:
        channels_in: input channels of each of the L maps.
        hidden_width: channels of stem and branches.
        depthwise: each 3x3 convolution is a depth-wise and a point-wise one.
        one_to_one: have a second objectness, see `OneObject`.
    """

    rule: Rule = "points"
    last_convolutions: tuple[str, ...] = ("cls_preds", "reg_preds", "obj_preds")

    def __init__(
        self,
        channels_in: Sequence[int],
        *,
        num_classes: int,
        hidden_width: int = 256,
        depthwise: bool = False,
        one_to_one: bool = False,
    ) -> None:
        num_maps, width = len(channels_in), hidden_width
        super().__init__(num_maps, num_classes)
        self.cls_convs, self.reg_convs = (_branches(num_maps, width, depthwise=depthwise) for _branch in range(2))
        self.cls_preds, self.reg_preds, self.obj_preds = (
            _predictions(num_maps, width, num_outputs) for num_outputs in (num_classes, 4, 1)
        )
        self.stems = nn.ModuleList(Conv(channels, width) for channels in channels_in)
        if one_to_one:
            self.one = OneObject(num_classes, _branches(num_maps, width, depthwise=depthwise), width, "shared")

    def parts(self, features: Sequence[Tensor]) -> list[Parts]:
        """See `PointHead`: stem; box; objectness and classes."""
        found: list[Parts] = []
        for level, feature in enumerate(features):
            stem = self.stems[level](feature)
            classes = self.cls_preds[level](self.cls_convs[level](stem))
            of_box = self.reg_convs[level](stem)
            found.append((stem, self.reg_preds[level](of_box), self.obj_preds[level](of_box), classes))
        return found

    def initialise_outputs(self) -> None:
        """Initialise objectness and classes as rare."""
        expect_little(*self.cls_preds, *self.obj_preds)


def _branches(num_maps: int, width: int, *, depthwise: bool) -> nn.ModuleList:
    """Two 3x3 convolutions for each map."""
    block = DSConv if depthwise else Conv
    return nn.ModuleList(nn.Sequential(*(block(width, width, kernel=3) for _ in range(2))) for _ in range(num_maps))


def _predictions(num_maps: int, width: int, num_outputs: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(width, num_outputs, 1) for _ in range(num_maps))
