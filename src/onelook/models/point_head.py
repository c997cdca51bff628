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

Parts = tuple[Tensor, ...]
"""Of one map: what the second objectness sees, (B, C, H, W); the four numbers of a box, (B, 4, H, W); logits, those of
the classes last."""


class PointHead(nn.Module, ABC):
    """A head whose cells predict one box each.

    It may have a second objectness, see `OneObject`, and so a second branch that needs no NMS.

    Attributes:
        rule: how its raw maps become boxes.
        stride_px: pixels per cell of each map; follows from the model table and is not saved.
        one: the second objectness.
        needs_nms: whether several points may find one object; true except for the second branch.
    """

    rule: Rule
    last_convolutions: tuple[str, ...]
    stride_px: tuple[int, ...]
    one: OneObject | None
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
    def parts(self, features: Sequence[Tensor]) -> list[Parts]:
        """What the first branch gives of each map."""

    @abstractmethod
    def initialise_outputs(self) -> None:
        """Initialise the last convolutions of the first branch to rare objects."""

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Raw maps, L tensors (B, 1, H, W, C); L more of the second branch."""
        # (B, C, H, W) -> (B, 1, C, H, W) -> (B, 1, H, W, C)
        return [raw.unsqueeze(1).permute(0, 1, 3, 4, 2) for raw in self.all_flat_maps(features)]

    def flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The raw maps of the first branch as the convolutions give them, L tensors (B, C, H, W)."""
        return [torch.cat(outputs, dim=1) for _, *outputs in self.parts(features)]

    def all_flat_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """What `flat_maps` gives, of both branches."""
        parts = self.parts(features)
        both = parts if self.one is None else parts + self.one.beside(parts)
        return [torch.cat(outputs, dim=1) for _, *outputs in both]

    def second_alone(self) -> OneObject:
        """The second branch as a head; this head must not be used any more."""
        assert self.one is not None, "the head has two branches"
        one, self.one = self.one, None
        one.first = self
        return one

    def decode(self, raw_maps: Sequence[Tensor]) -> Tensor:
        """Boxes and scores of L maps in float32, (B, sum of H*W, 5 + K), see `Head`."""
        return decoded(raw_maps, self.decoding())

    def decoding(self) -> Decoding:
        """What `decode` does, as plain numbers."""
        return Decoding(rule=self.rule, strides=tuple(map(float, self.stride_px)))

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

        A second objectness that `given` lacks starts as a copy of the first, if there is one: it is then as good as
        that at finding objects, and has to learn only to find each once.
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


class OneObject(PointHead):
    """A second objectness beside a first branch, which one cell of each object learns; boxes and classes are shared.

    It sees what the first branch makes of the features but does not change it.

    Args:
        num_classes: those of the first branch.
        layers: for each map the layers that lead from what it sees to the objectness.
        width: channels that they give.
        rule: how its raw maps become boxes.

    Attributes:
        first: the first branch, once this is the whole head; before, it is part of that.
    """

    first: PointHead | None

    def __init__(self, num_classes: int, layers: nn.ModuleList, width: int, rule: Rule) -> None:
        super().__init__(len(layers), num_classes)
        self.rule = rule
        self.needs_nms = False
        self.reg_convs = layers
        self.obj_preds = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in layers)
        self.first = None

    @property
    def last_convolutions(self) -> tuple[str, ...]:  # type: ignore[override]
        """See `Head`."""
        assert self.first is not None, "as `second_alone` gives it"
        return ("obj_preds", *(f"first.{name}" for name in self.first.last_convolutions))

    def parts(self, features: Sequence[Tensor]) -> list[Parts]:
        """What the second branch gives of each map."""
        assert self.first is not None, "as `second_alone` gives it"
        return self.beside(self.first.parts(features))

    def beside(self, parts: Sequence[Parts]) -> list[Parts]:
        """The same from what the first branch gives: the objectness stands behind the box."""
        found = []
        for part, layers, last in zip(parts, self.reg_convs, self.obj_preds, strict=True):
            seen, box, *logits = (given.detach() for given in part)
            found.append((seen, box, last(layers(seen)), *logits))
        return found

    def initialise_outputs(self) -> None:
        """Initialise the objectness as rare."""
        expect_little(*self.obj_preds)


def expect_little(*convolutions: nn.Module) -> None:
    """Bias the outputs of convolutions to `PRIOR`."""
    for convolution in convolutions:
        convolution.get_parameter("bias").fill_(RARE)
