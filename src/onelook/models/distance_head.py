"""A head that predicts at each point the distances to the four sides of a box and its class: no anchors, no objectness.

Feng et al., TOOD, 2021, without its task interaction. Boxes and classes have branches of their own; that of the classes
is light, as Wang et al., YOLOv10, 2024, section 3.2, found it can be. Nothing is shared between maps.

Letters: B images, L maps, H x W cells, K classes, s pixels per cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from onelook.models.convolutions import Conv, DSConv
from onelook.models.decoding import Decoding, decode_distances
from onelook.models.second_branch import branch_tensors

NUM_SIDES = 4
CLASS_PRIOR = 0.01
"""Probability of a class before any training."""
FIRST_DISTANCE = 2.0
"""Cells from a point to each side of its box before any training, so that boxes overlap the targets."""
_SMALL_WEIGHT = 0.01
# Points that learn an object, of the points of an image of 640 pixels: how often a class is right at a point.
_POINTS_OF_OBJECT, _POINTS_OF_IMAGE = 4, 8400
_LEAST_SHARE, _LARGEST_SHARE = 1e-4, 0.05


class Look(nn.Module):
    """Per map two branches of two 3x3 convolutions, dense for the box and depth-wise separable for the classes.

    Args:
        channels_in: of the L maps.
        num_classes: K.
        box_width: channels of the box branch.
        class_width: channels of the class branch.
        one_to_one: have a second set of all this, which learns with one point for a target and so needs no NMS; it sees
            the features but does not change them.

    Attributes:
        strides: (L,) float32 pixels per cell; follows from the model table and is not saved.
        one: the second set.
        needs_nms: whether several points may find one object; so it is but for a second set.
    """

    strides: Tensor
    one: Look | None
    needs_nms: bool
    kept_in_32_bits: ClassVar[tuple[str, ...]] = ()
    last_convolutions: ClassVar[tuple[str, ...]] = ("box_preds", "cls_preds")

    def __init__(
        self,
        channels_in: Sequence[int],
        *,
        num_classes: int,
        box_width: int = 64,
        class_width: int = 128,
        one_to_one: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.needs_nms = True
        self.register_buffer("strides", torch.zeros(len(channels_in)), persistent=False)
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
        self.one = None
        if one_to_one:
            self.one = Look(
                channels_in, num_classes=num_classes, box_width=box_width, class_width=class_width, one_to_one=False
            )
            self.one.needs_nms = False

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Raw maps, L tensors (B, 1, H, W, 4 + K): distances in cells and class logits; L more of the second set."""
        # (B, 4 + K, H, W) -> (B, 1, 4 + K, H, W) -> (B, 1, H, W, 4 + K)
        maps = [raw.unsqueeze(1).permute(0, 1, 3, 4, 2) for raw in self.flat_maps(features)]
        return maps if self.one is None else maps + self.one([feature.detach() for feature in features])

    def flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The raw maps of the first set as the convolutions give them, L tensors (B, 4 + K, H, W)."""
        return [
            torch.cat(
                [
                    self.box_preds[level](self.box_convs[level](feature)),
                    self.cls_preds[level](self.cls_convs[level](feature)),
                ],
                dim=1,
            )
            for level, feature in enumerate(features)
        ]

    def decode(self, raw_maps: Sequence[Tensor]) -> Tensor:
        """Boxes and scores of L maps in float32, (B, sum of H*W, 5 + K): cxcywh in pixels, 1, class probabilities."""
        strides, peaks = self.strides.float(), not self.needs_nms
        return torch.cat([decode_distances(raw, strides[i], peaks) for i, raw in enumerate(raw_maps)], dim=1)

    def decoding(self) -> Decoding:
        """What `decode` does, as plain numbers."""
        return Decoding(rule="distances", strides=tuple(self.strides.tolist()), peaks=not self.needs_nms)

    @torch.no_grad()
    def initialise(self, stride_px: Sequence[int], anchors: int | list[list[float]] | None) -> None:
        """Start with boxes of four cells and rare classes: Lin et al., Focal Loss, 2017, section 3.3.

        Args:
            stride_px: pixels per cell of each map.
            anchors: there are none.
        """
        self.strides.copy_(torch.tensor(stride_px, dtype=torch.float32, device="cpu"))
        for convolutions, bias in (
            (self.box_preds, FIRST_DISTANCE),
            (self.cls_preds, -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR)),
        ):
            for convolution in convolutions:
                nn.init.normal_(convolution.get_parameter("weight"), std=_SMALL_WEIGHT)
                convolution.get_parameter("bias").fill_(bias)
        if self.one is not None:
            self.one.initialise(stride_px, anchors)

    @torch.no_grad()
    def expect_classes(self, objects_per_image: Mapping[int, float]) -> None:
        """Bias classes that nothing is known about yet by how often they occur.

        Args:
            objects_per_image: class id -> mean number of its objects in an image.
        """
        for class_id, number in objects_per_image.items():
            share = min(max(number * _POINTS_OF_OBJECT / _POINTS_OF_IMAGE, _LEAST_SHARE), _LARGEST_SHARE)
            for convolution in self.cls_preds:
                convolution.get_parameter("bias")[class_id] = math.log(share / (1 - share))
        if self.one is not None:
            self.one.expect_classes(objects_per_image)

    def with_classes(self, given: Mapping[str, Tensor], num_given: int, common: Mapping[int, int]) -> dict[str, Tensor]:
        """Class outputs with the rows of `common` classes out of `given`, and a copied second set; see `Head`."""
        return branch_tensors(self, given, num_given, common)
