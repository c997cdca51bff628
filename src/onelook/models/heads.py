"""Detection heads: features -> raw maps of logits, and raw maps -> boxes in pixels. No loss and no NMS here.

Letters: B images, L maps, A anchors per cell, H x W cells, K classes, M mask coefficients, s pixels per cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from onelook.models.convolutions import Conv
from onelook.models.decoding import Decoding, decode_anchors
from onelook.structures.anchors import AnchorGrid

NUM_BOX_OUTPUTS = 5
"""Outputs of an anchor before the classes: x, y, width, height, objectness."""

OBJECTS_PER_IMAGE = 8
"""Expected objects in a 640 x 640 image; sets the first objectness bias."""


class Detect(nn.Module):
    """One 1x1 convolution per map; each anchor of each cell gives x, y, w, h, objectness and K class logits.

    Attributes:
        anchors: (L, A, 2) float32 width, height in cells, that is pixels / s; saved with the weights.
        strides: (L,) float32 pixels per cell; follows from the model table and is not saved.
    """

    anchors: Tensor
    strides: Tensor
    one: ClassVar[None] = None
    needs_nms: ClassVar[bool] = True
    kept_in_32_bits: ClassVar[tuple[str, ...]] = ("anchors",)
    last_convolutions: ClassVar[tuple[str, ...]] = ("m",)

    def __init__(
        self, channels_in: Sequence[int], *, num_classes: int, num_anchors: int, num_extra_outputs: int = 0
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_anchors = num_anchors
        self.num_outputs = NUM_BOX_OUTPUTS + num_classes + num_extra_outputs
        self.register_buffer("anchors", torch.zeros(len(channels_in), num_anchors, 2))
        self.register_buffer("strides", torch.zeros(len(channels_in)), persistent=False)
        self.m = nn.ModuleList(nn.Conv2d(channels, self.num_outputs * num_anchors, 1) for channels in channels_in)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Raw maps, L tensors (B, A, H, W, num_outputs) of logits (views: no memory is moved)."""
        # (B, A * outputs, H, W) -> (B, A, outputs, H, W) -> (B, A, H, W, outputs)
        return [
            x.view(x.shape[0], self.num_anchors, self.num_outputs, *x.shape[2:]).permute(0, 1, 3, 4, 2)
            for x in self.flat_maps(features)
        ]

    def flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Raw maps as the convolutions give them, L tensors (B, A * num_outputs, H, W)."""
        return [convolution(feature) for convolution, feature in zip(self.m, features, strict=True)]

    def decode(self, raw_maps: Sequence[Tensor]) -> Tensor:
        """Boxes and scores in float32, (B, sum of A*H*W, 5 + K), in the order map, anchor, row, column; see `Head`."""
        grid = self.anchor_grid()
        parts = [decode_anchors(raw, grid.anchors[i], grid.strides[i]) for i, raw in enumerate(raw_maps)]
        return torch.cat(parts, dim=1)

    def decoding(self) -> Decoding:
        """What `decode` does, as plain numbers."""
        grid = self.anchor_grid()
        anchors = tuple(tuple((float(w), float(h)) for w, h in one_map) for one_map in grid.anchors.tolist())
        return Decoding(rule="anchors", strides=tuple(grid.strides.tolist()), anchors=anchors)

    def take_strides(self, stride_px: Sequence[int]) -> None:
        """See `Head`."""
        self.strides = torch.tensor(stride_px, dtype=torch.float32, device=self.anchors.device)

    @torch.no_grad()
    def initialise(self, stride_px: Sequence[int], anchors: int | list[list[float]] | None) -> None:
        """Take strides and anchors, and bias the outputs.

        Args:
            anchors: per map w, h, w, h, ... in pixels, or how many per cell, see `unfitted_anchors`.
        """
        self.take_strides(stride_px)
        if isinstance(anchors, int):
            self.place_anchors(unfitted_anchors(anchors, self.strides))
        else:
            self.place_anchors(torch.tensor(anchors, dtype=torch.float32, device="cpu").view(self.anchors.shape))
        self.initialise_biases(stride_px)

    def expect_classes(self, objects_per_image: Mapping[int, float]) -> None:
        """Do nothing: the objectness expresses how rare objects are; see `Head`."""

    def with_classes(self, given: Mapping[str, Tensor], num_given: int, common: Mapping[int, int]) -> dict[str, Tensor]:
        """This head's outputs with the rows of `common` classes, boxes and objectness out of `given`.

        With one class on either side there are none: its score is the objectness, and its own output is not trained.
        """
        if min(num_given, self.num_classes) == 1 or not common:
            return {}
        num_extra = self.num_outputs - NUM_BOX_OUTPUTS - self.num_classes
        rows = _rows(common.keys(), self.num_classes, num_extra)
        given_rows = _rows(common.values(), num_given, num_extra)
        merged = {}
        for part, own in self.m.state_dict().items():
            found = given.get(f"m.{part}")
            shape = (self.num_anchors * (NUM_BOX_OUTPUTS + num_given + num_extra), *own.shape[1:])
            if found is not None and found.shape == shape:
                result = own.detach().clone()  # (A * outputs, ...)
                per_anchor = result.view(self.num_anchors, self.num_outputs, *own.shape[1:])
                per_anchor[:, rows] = found.reshape(self.num_anchors, -1, *own.shape[1:])[:, given_rows].to(result)
                merged[f"m.{part}"] = result
        return merged

    def anchor_grid(self) -> AnchorGrid:
        """Anchors in pixels, and strides; float32 whatever the precision of the weights."""
        strides = self.strides.float()
        return AnchorGrid(anchors=self.anchors.float() * strides[:, None, None], strides=strides)

    @torch.no_grad()
    def place_anchors(self, anchors_px: Tensor) -> None:
        """Take (L, A, 2) anchors in pixels, whose maps are put in the order of the strides: small on fine maps."""
        anchors_px = anchors_px.to(self.strides)
        mean_area = anchors_px.prod(dim=-1).mean(dim=-1)
        is_reversed = (mean_area[-1] - mean_area[0]) * (self.strides[-1] - self.strides[0]) < 0
        ordered = torch.where(is_reversed, anchors_px.flip(0), anchors_px)
        self.anchors.copy_(ordered / self.strides[:, None, None])

    @torch.no_grad()
    def initialise_biases(self, stride_px: Sequence[int]) -> None:
        """Start from rare objects and rare classes, so that the first steps do not drown in false alarms.

        Lin et al., Focal Loss for Dense Object Detection, 2017, section 3.3. With one class its bias is +13.3, that is
        probability 1: the class output has no loss then, so that the score of a box is its objectness.
        """
        class_bias = math.log(0.6 / (self.num_classes - 0.999999))
        for convolution, stride in zip(self.m, stride_px, strict=True):
            bias = convolution.get_parameter("bias").view(self.num_anchors, self.num_outputs)
            bias[:, 4] += math.log(OBJECTS_PER_IMAGE / (640 / stride) ** 2)
            bias[:, NUM_BOX_OUTPUTS : NUM_BOX_OUTPUTS + self.num_classes] += class_bias


def unfitted_anchors(num_anchors: int, strides: Tensor) -> Tensor:
    """Square anchors from 2 to 8 cells wide, (L, num_anchors, 2) pixels: usable, but better fitted to the data."""
    steps = (torch.arange(num_anchors, dtype=torch.float32, device=strides.device) + 0.5) / num_anchors
    sides = strides[:, None] * 2 ** (1 + 2 * steps)
    return sides[:, :, None].expand(-1, -1, 2)


def _rows(class_ids: Iterable[int], num_classes: int, num_extra: int) -> list[int]:
    """The outputs of an anchor that belong to boxes, to objectness, to these classes, and to no class."""
    after = NUM_BOX_OUTPUTS + num_classes
    chosen = (NUM_BOX_OUTPUTS + class_id for class_id in class_ids)
    return [*range(NUM_BOX_OUTPUTS), *chosen, *range(after, after + num_extra)]


class Proto(nn.Module):
    """Mask prototypes at twice the size of the given map: Bolya et al., YOLACT, 2019, section 3.1."""

    def __init__(self, channels_in: int, *, num_prototype_channels: int = 256, num_masks: int = 32) -> None:
        super().__init__()
        self.cv1 = Conv(channels_in, num_prototype_channels, kernel=3)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.cv2 = Conv(num_prototype_channels, num_prototype_channels, kernel=3)
        self.cv3 = Conv(num_prototype_channels, num_masks)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv3(self.cv2(self.upsample(self.cv1(x))))
        return out


@dataclass(frozen=True)
class SegmentationMaps:
    """What a segmentation head gives.

    Attributes:
        raw_maps: L tensors (B, A, H, W, 5 + K) logits, as of `Detect`.
        coefficients: L tensors (B, A, H, W, M), linear.
        prototypes: (B, M, 2 H, 2 W) of the finest map; a mask is sigmoid(coefficients . prototypes).
    """

    raw_maps: list[Tensor]
    coefficients: list[Tensor]
    prototypes: Tensor


class Segment(Detect):
    """`Detect` with M additional mask coefficients per anchor, and mask prototypes from the first map."""

    def __init__(
        self,
        channels_in: Sequence[int],
        *,
        num_classes: int,
        num_anchors: int,
        num_masks: int = 32,
        num_prototype_channels: int = 256,
    ) -> None:
        super().__init__(channels_in, num_classes=num_classes, num_anchors=num_anchors, num_extra_outputs=num_masks)
        self.num_masks = num_masks
        self.proto = Proto(channels_in[0], num_prototype_channels=num_prototype_channels, num_masks=num_masks)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The raw maps of the boxes alone, L tensors (B, A, H, W, 5 + K)."""
        return [outputs[..., : -self.num_masks] for outputs in super().forward(features)]

    def segment(self, features: Sequence[Tensor]) -> SegmentationMaps:
        """Raw maps, mask coefficients and prototypes."""
        outputs = super().forward(features)
        return SegmentationMaps(
            raw_maps=[x[..., : -self.num_masks] for x in outputs],
            coefficients=[x[..., -self.num_masks :] for x in outputs],
            prototypes=self.proto(features[0]),
        )
