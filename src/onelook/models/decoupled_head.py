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

Parts = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of one map: what all branches see, (B, hidden width, H, W); x, y in cells, log width and height, (B, 4, H, W); logits
of objectness, (B, 1, H, W), and of classes, (B, K, H, W)."""


class YoloX(PointHead):
    """Per map a 1x1 stem, then two branches of two 3x3 convolutions: classes; box and objectness.

    Args:
        channels_in: input channels of each of the L maps.
        hidden_width: channels of stem and branches.
        depthwise: each 3x3 convolution is a depth-wise and a point-wise one.
        one_to_one: have a second objectness, see `OneObject`.
    """

    rule: ClassVar[Rule] = "points"
    last_convolutions: ClassVar[tuple[str, ...]] = ("cls_preds", "reg_preds", "obj_preds")
    one: OneObject | None

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
            self.one = OneObject(num_maps, num_classes=num_classes, hidden_width=width, depthwise=depthwise)

    def parts(self, features: Sequence[Tensor]) -> list[Parts]:
        """What the first set gives of each map."""
        found = []
        for level, feature in enumerate(features):
            stem = self.stems[level](feature)
            classes = self.cls_preds[level](self.cls_convs[level](stem))
            of_box = self.reg_convs[level](stem)
            found.append((stem, self.reg_preds[level](of_box), self.obj_preds[level](of_box), classes))
        return found

    def flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """L tensors (B, 5 + K, H, W): x, y in cells, log width and height, logits; see `PointHead`."""
        return [torch.cat(outputs, dim=1) for _, *outputs in self.parts(features)]

    def all_flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """`flat_maps` of the first set, and L tensors (B, 6 + K, H, W) of the second objectness if there is one."""
        parts = self.parts(features)
        maps = [torch.cat(outputs, dim=1) for _, *outputs in parts]
        return maps if self.one is None else maps + self.one.beside(parts)

    def second_alone(self) -> PointHead:
        """A head of the second objectness, which needs the maps of this head."""
        one = super().second_alone()
        assert isinstance(one, OneObject), "as created"
        one.first = self
        return one

    def initialise_outputs(self) -> None:
        """Initialise objectness and classes as rare."""
        _expect_little(*self.cls_preds, *self.obj_preds)


class OneObject(PointHead):
    """A second objectness beside that of `YoloX`, which one cell of each object learns; boxes and classes are shared.

    It sees the stems of the first set but does not change them.

    Attributes:
        first: the first set, once this is the whole head; before, it is part of that.
    """

    rule: ClassVar[Rule] = "shared"
    last_convolutions: ClassVar[tuple[str, ...]] = ("obj_preds", *(f"first.{name}" for name in YoloX.last_convolutions))
    first: YoloX | None

    def __init__(self, num_maps: int, *, num_classes: int, hidden_width: int, depthwise: bool) -> None:
        super().__init__(num_maps, num_classes)
        self.needs_nms = False
        self.reg_convs = _branches(num_maps, hidden_width, depthwise=depthwise)
        self.obj_preds = _predictions(num_maps, hidden_width, 1)
        self.first = None

    def flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """L tensors (B, 6 + K, H, W): x, y in cells, log width and height, logits; see `decode_shared`."""
        assert self.first is not None, "as `second_alone` gives it"
        return self.beside(self.first.parts(features))

    def beside(self, parts: Sequence[Parts]) -> list[Tensor]:
        """The same from what the first set gives."""
        maps = []
        for level, part in enumerate(parts):
            stem, box, objectness, classes = (given.detach() for given in part)
            own = self.obj_preds[level](self.reg_convs[level](stem))
            maps.append(torch.cat((box, own, objectness, classes), dim=1))
        return maps

    def initialise_outputs(self) -> None:
        """Initialise objectness as rare."""
        _expect_little(*self.obj_preds)


def _branches(num_maps: int, width: int, *, depthwise: bool) -> nn.ModuleList:
    """Two 3x3 convolutions for each map."""
    block = DSConv if depthwise else Conv
    return nn.ModuleList(nn.Sequential(*(block(width, width, kernel=3) for _ in range(2))) for _ in range(num_maps))


def _predictions(num_maps: int, width: int, num_outputs: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(width, num_outputs, 1) for _ in range(num_maps))


def _expect_little(*convolutions: nn.Module) -> None:
    for convolution in convolutions:
        convolution.get_parameter("bias").fill_(RARE)
