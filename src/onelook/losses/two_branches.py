"""The loss of a head with two branches: one lets many points learn a target and needs NMS, the other lets one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from onelook.losses.protocol import FamilyLoss, LossTerms
from onelook.structures.batch import Targets


class TwoBranchLoss(FamilyLoss):
    """The sum of both losses: the first branch shapes the features, the second sees them detached.

    The branches share no weight that both could move, so neither has to give way to the other, and both learn at full
    strength. A weight that falls for the first and rises for the second, as is usual, would only change their learning
    rates: with Adam, whose second moments remember a thousand updates, by a factor that depends on the length of the
    run.

    Attributes:
        columns: those of the first branch, then those of the second with `one_` in front.

    Args:
        many: loss of the first half of the raw maps.
        one: loss of the second half.
    """

    def __init__(self, many: FamilyLoss, one: FamilyLoss) -> None:
        self.many = many
        self.one = one
        self.num_classes = many.num_classes
        self.balance, self.is_moving = torch.empty(0), False
        self.columns = (*many.columns, *(f"one_{name}" for name in one.columns))

    def prepare(self, raw_maps: Sequence[Tensor], targets: Targets, progress: float) -> Any:
        """See `FamilyLoss`; once for both branches, which have the same points and candidates."""
        return self.many.prepare(raw_maps[: len(raw_maps) // 2], targets, progress)

    def terms(self, raw_maps: Sequence[Tensor], prepared: Any) -> LossTerms:
        """See `FamilyLoss`."""
        half = len(raw_maps) // 2
        many = self.many.terms(raw_maps[:half], prepared)
        one = self.one.terms(raw_maps[half:], prepared)
        return LossTerms(total=many.total + one.total, values=torch.cat([many.values, one.values]))
