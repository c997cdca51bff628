"""The loss of a head with two branches: one lets many points learn a target and needs NMS, the other lets one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onelook.losses.protocol import FamilyLoss, FamilyLossTerms
from onelook.structures.batch import Targets

MANY_AT_FIRST = 0.8
MANY_AT_LAST = 0.1


def weight_of_many(progress: float) -> float:
    """Weight of the one-to-many branch after the share `progress` (0 to 1) of a run; one-to-one has the rest.

    >>> [round(weight_of_many(epoch / 99), 6) for epoch in (0, 50, 99)]
    [0.8, 0.446465, 0.1]
    """
    return max(1 - progress, 0.0) * (MANY_AT_FIRST - MANY_AT_LAST) + MANY_AT_LAST


class TwoBranchLoss:
    """Both losses, weighted by how far the run is: the first branch shapes the features, the second sees them detached.

    Attributes:
        columns: those of the first branch, then those of the second with `one_` in front.
        num_classes: K.

    Args:
        many: loss of the first half of the raw maps.
        one: loss of the second half.
    """

    def __init__(self, many: FamilyLoss, one: FamilyLoss) -> None:
        self.many = many
        self.one = one
        self.num_classes = many.num_classes
        self.balance = torch.empty(0)  # nothing moves
        self.columns = (*many.columns, *(f"one_{name}" for name in one.columns))

    def __call__(self, raw_maps: Sequence[Tensor], targets: Targets, progress: float = 0.0) -> FamilyLossTerms:
        """The loss of B images.

        Args:
            raw_maps: L maps of the first branch, then L of the second.
            targets: of the batch.
            progress: share of the run that is done.
        """
        half = len(raw_maps) // 2
        weight = weight_of_many(progress)
        many = self.many(raw_maps[:half], targets, progress)
        one = self.one(raw_maps[half:], targets, progress)
        return FamilyLossTerms(
            total=many.total * weight + one.total * (1 - weight),
            values=torch.cat([many.values * weight, one.values * (1 - weight)]),
        )

    def state_dict(self) -> dict[str, list[float]]:
        """Nothing: it depends on the step alone."""
        return {}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """There is nothing to resume from."""
