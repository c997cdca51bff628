"""The head of YOLOX: one box per cell, no anchors, boxes and classes on branches of their own.

Ge et al., YOLOX: Exceeding YOLO Series in 2021, sections 2.2 and 2.3. Names of sub-modules are those of the published
weights.

Letters: B images, L maps, H x W cells, K classes, s pixels per cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from onelook.models.convolutions import Conv, DSConv
from onelook.models.decoding import Decoding, decode_points
from onelook.models.second_branch import branch_tensors

PRIOR = 0.01
"""Probability of objects and classes before any training."""


class YoloX(nn.Module):
    """Per map a 1x1 stem, then two branches of two 3x3 convolutions: classes; box and objectness.

    Args:
        channels_in: of the L maps.
        num_classes: K.
        hidden_width: channels of stem and branches.
        depthwise: each 3x3 convolution is a depth-wise and a point-wise one.
        one_to_one: have a second set of all this, which learns with one point for a target and so needs no NMS; it sees
            the features but does not change them.

    Attributes:
        strides: (L,) float32 pixels per cell; follows from the model table and is not saved.
        one: the second set.
        needs_nms: whether several points may find one object; so it is but for a second set.
    """

    strides: Tensor
    one: YoloX | None
    needs_nms: bool
    kept_in_32_bits: ClassVar[tuple[str, ...]] = ()
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
        super().__init__()
        self.num_classes = num_classes
        self.needs_nms = True
        block = DSConv if depthwise else Conv
        width = hidden_width

        def branches() -> nn.ModuleList:
            return nn.ModuleList(
                nn.Sequential(block(width, width, kernel=3), block(width, width, kernel=3)) for _ in channels_in
            )

        def predictions(num_outputs: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(width, num_outputs, 1) for _ in channels_in)

        self.register_buffer("strides", torch.zeros(len(channels_in)), persistent=False)
        self.cls_convs, self.reg_convs = branches(), branches()
        self.cls_preds, self.reg_preds, self.obj_preds = predictions(num_classes), predictions(4), predictions(1)
        self.stems = nn.ModuleList(Conv(channels, width) for channels in channels_in)
        self.one = None
        if one_to_one:
            self.one = YoloX(channels_in, num_classes=num_classes, hidden_width=hidden_width, depthwise=depthwise)
            self.one.needs_nms = False

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Raw maps, L tensors (B, 1, H, W, 5 + K): x, y in cells, log width and height, logits; L more of `one`."""
        # (B, 5 + K, H, W) -> (B, 1, 5 + K, H, W) -> (B, 1, H, W, 5 + K)
        maps = [raw.unsqueeze(1).permute(0, 1, 3, 4, 2) for raw in self.flat_maps(features)]
        return maps if self.one is None else maps + self.one([feature.detach() for feature in features])

    def flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The raw maps of the first set as the convolutions give them, L tensors (B, 5 + K, H, W)."""
        maps = []
        for level, feature in enumerate(features):
            stem = self.stems[level](feature)
            classes = self.cls_preds[level](self.cls_convs[level](stem))
            of_box = self.reg_convs[level](stem)
            maps.append(torch.cat([self.reg_preds[level](of_box), self.obj_preds[level](of_box), classes], dim=1))
        return maps

    def decode(self, raw_maps: Sequence[Tensor]) -> Tensor:
        """Boxes and scores of L maps in float32, (B, sum of H*W, 5 + K): cxcywh in pixels, then probabilities."""
        strides, peaks = self.strides.float(), not self.needs_nms
        return torch.cat([decode_points(raw, strides[i], peaks) for i, raw in enumerate(raw_maps)], dim=1)

    def decoding(self) -> Decoding:
        """What `decode` does, as plain numbers."""
        return Decoding(rule="points", strides=tuple(self.strides.tolist()), peaks=not self.needs_nms)

    @torch.no_grad()
    def initialise(self, stride_px: Sequence[int], anchors: int | list[list[float]] | None) -> None:
        """Start from rare objects and rare classes: Lin et al., Focal Loss, 2017, section 3.3.

        Args:
            stride_px: pixels per cell of each map.
            anchors: there are none.
        """
        self.strides.copy_(torch.tensor(stride_px, dtype=torch.float32, device="cpu"))
        for convolution in (*self.cls_preds, *self.obj_preds):
            convolution.get_parameter("bias").fill_(-math.log((1 - PRIOR) / PRIOR))
        if self.one is not None:
            self.one.initialise(stride_px, anchors)

    def expect_classes(self, objects_per_image: Mapping[int, float]) -> None:
        """Nothing: the objectness says how rare objects are; see `Head`."""

    def with_classes(self, given: Mapping[str, Tensor], num_given: int, common: Mapping[int, int]) -> dict[str, Tensor]:
        """Class outputs with the rows of `common` classes out of `given`, and a copied second set; see `Head`."""
        return branch_tensors(self, given, num_given, common)
