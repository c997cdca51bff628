"""The interface of every family's loss; anchors, assignment and terms are the family's own.

Letters: B images, L maps, K classes, C loss columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from onelook.structures.batch import Targets

NOMINAL_IMAGES = 64
"""The schedule scales sums over images as if an update had this many; the rates of point losses are for a mean."""


@dataclass(frozen=True)
class LossTerms:
    """The loss of the images that went through the network together.

    Attributes:
        total: 0-d float32 with gradient: the loss times B, over `NOMINAL_IMAGES` if its terms are means of an update.
        values: (C,) float32 without gradient, the weighted terms in the order of the loss's `columns`.
    """

    total: Tensor
    values: Tensor


class TrainingLoss(Protocol):
    """A loss: the same raw maps, targets and progress give the same bits.

    Attributes:
        is_moving: whether its `balance` moves while it is used.
    """

    is_moving: bool

    def __call__(self, raw_maps: Sequence[Tensor], targets: Targets, progress: float = 0.0) -> LossTerms:
        """The loss of B images.

        Args:
            raw_maps: raw maps of the family's head.
            targets: targets of the batch; they may stay on the CPU while the maps are on a GPU.
            progress: share of the run that is done, 0 at the first step, 1 at the last.
        """
        return self.terms(raw_maps, self.prepare(raw_maps, targets, progress))

    def prepare(self, raw_maps: Sequence[Tensor], targets: Targets, progress: float) -> Any:
        """What the loss needs of targets and progress: a dataclass with tensors on the device of the maps.

        Their lengths are rounded up, so that batches come in few different ones; all else in it has few values.
        """
        ...

    def terms(self, raw_maps: Sequence[Tensor], prepared: Any) -> LossTerms:
        """The loss, from what `prepare` returned for maps of these sizes.

        Nothing in it waits for the device, and no shape depends on a value.
        """
        ...


class FamilyLoss(TrainingLoss, Protocol):
    """The loss of a family.

    Attributes:
        columns: short names of the terms, as in `train/<name>_loss` of `results.csv`.
        num_classes: K.
        balance: (n,) float32 numbers that move while it is used, all that a checkpoint keeps of it; shared by all
            processes, empty for most losses.
    """

    columns: tuple[str, ...]
    num_classes: int
    balance: Tensor
