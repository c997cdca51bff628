"""What heads without anchors have in common: one box per cell, and perhaps a second branch that needs no NMS.

Letters: B images, L maps, H x W cells, K classes, C outputs of a cell.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from onelook.errors import ModelError
from onelook.models.decoding import Decoding, Rule, decoded

PRIOR = 0.01
RARE = -math.log((1 - PRIOR) / PRIOR)
"""Bias of an output that says 0.01 before any training, since objects are rare: Lin et al., Focal Loss, 2017, section
3.3."""
_CLASS_OUTPUTS = "cls_preds."


class PointHead(nn.Module, ABC):
    """A head whose cells predict one box each.

    It may have a second set of layers, which learns with one point for a target and so needs no NMS; that set sees the
    features but does not change them.

    Attributes:
        rule: how its raw maps become boxes.
        stride_px: pixels per cell of each map; follows from the model table and is not saved.
        one: the second set.
        needs_nms: whether several points may find one object; true except for a second set.
    """

    rule: ClassVar[Rule]
    stride_px: tuple[int, ...]
    one: PointHead | None
    needs_nms: bool
    kept_in_32_bits: ClassVar[tuple[str, ...]] = ()

    def __init__(self, num_maps: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.needs_nms = True
        self.one = None
        self.stride_px = (0,) * num_maps

    @property
    def strides(self) -> Tensor:
        """(L,) float32 pixels per cell."""
        return torch.tensor(self.stride_px, dtype=torch.float32, device=next(self.parameters()).device)

    def take_strides(self, stride_px: Sequence[int]) -> None:
        """See `Head`.

        Raises:
            ModelError: a map is finer than the one before.
        """
        if list(stride_px) != sorted(stride_px):
            raise ModelError(
                f"the maps of the head have strides {', '.join(map(str, stride_px))}",
                hint="a head without anchors reads its maps from the finest to the coarsest: sort its row of the model",
            )
        self.stride_px = tuple(stride_px)

    @abstractmethod
    def flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The raw maps of the first set as the convolutions give them, L tensors (B, C, H, W)."""

    @abstractmethod
    def initialise_outputs(self) -> None:
        """Initialise the last convolutions of the first set to rare objects."""

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Raw maps, L tensors (B, 1, H, W, C); L more of the second set."""
        # (B, C, H, W) -> (B, 1, C, H, W) -> (B, 1, H, W, C)
        return [raw.unsqueeze(1).permute(0, 1, 3, 4, 2) for raw in self.all_flat_maps(features)]

    def all_flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """What `flat_maps` gives, of both sets."""
        maps = self.flat_maps(features)
        return maps if self.one is None else maps + self.one.flat_maps([feature.detach() for feature in features])

    def second_alone(self) -> PointHead:
        """The second set as a head, with what it needs of the first; this head must not be used any more."""
        assert self.one is not None, "the head has two sets"
        one, self.one = self.one, None
        return one

    def decode(self, raw_maps: Sequence[Tensor]) -> Tensor:
        """Boxes and scores of L maps in float32, (B, sum of H*W, 5 + K), see `Head`."""
        return decoded(raw_maps, self.decoding())

    def decoding(self) -> Decoding:
        """What `decode` does, as plain numbers."""
        return Decoding(rule=self.rule, strides=tuple(map(float, self.stride_px)), peaks=not self.needs_nms)

    @torch.no_grad()
    def initialise(self, stride_px: Sequence[int], anchors: int | list[list[float]] | None) -> None:
        """Take the strides, and start from rare objects; there are no anchors to take."""
        self.take_strides(stride_px)
        self.initialise_outputs()
        if self.one is not None:
            self.one.initialise(stride_px, anchors)

    def expect_classes(self, objects_per_image: Mapping[int, float]) -> None:
        """Do nothing: the objectness expresses how rare objects are; see `Head`."""

    def with_classes(self, given: Mapping[str, Tensor], num_given: int, common: Mapping[int, int]) -> dict[str, Tensor]:
        """Rows of `common` classes in every branch, and a second branch; see `Head`.

        A second branch that `given` lacks starts as a copy of the first: it is then as good as that one at finding
        objects, and has to learn only to find each once.
        """
        own, result = self.state_dict(), {}
        if not any(name.startswith("one.") for name in given):
            copies = {f"one.{name}": tensor for name, tensor in given.items()}
            given = {**given, **copies}
            result = {name: copy for name, copy in copies.items() if name in own and copy.shape == own[name].shape}
        for name, tensor in own.items():
            found = given.get(name) if common and _CLASS_OUTPUTS in name else None
            if found is not None and found.shape == (num_given, *tensor.shape[1:]):
                rows = tensor.detach().clone()
                rows[list(common.keys())] = found[list(common.values())].to(rows)
                result[name] = rows
        return result
