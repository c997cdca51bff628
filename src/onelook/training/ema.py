"""The running average of the weights, in full precision."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

MAX_DECAY = 0.9999
RAMP_UPDATES = 2000
MEMORY_SHARE = 0.04
RAMP_SHARE = 0.1


class ModelEma:
    """Exponential moving average of every floating tensor of a model's state; other tensors are copied.

    The decay grows with the number of updates n as D (1 - exp(-n / R)), so that early averages forget fast. D is
    0.9999 and R is 2000 in long runs. A short run would end before such an average has any memory, so there the
    memory 1 / (1 - D) is 4 % and the ramp R is 10 % of its updates; with up to 25, the average is the weights.

    Args:
        model: copied once; the copy (`module`) stays in evaluation mode and has no gradients.
        total_updates: updates of the whole run.
    """

    def __init__(self, model: nn.Module, *, total_updates: int) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self.updates = 0
        self.plan_for(total_updates)
        pairs = list(zip(self.module.state_dict().values(), model.state_dict().values(), strict=True))
        averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        copied = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._averaged, self._sources = ([pair[side] for pair in averaged] for side in (0, 1))
        self._copied, self._originals = ([pair[side] for pair in copied] for side in (0, 1))

    def plan_for(self, total_updates: int) -> None:
        """Set memory and ramp for a run of this length."""
        self._max_decay = min(MAX_DECAY, 1 - 1 / max(MEMORY_SHARE * total_updates, 1))
        self._ramp = min(RAMP_UPDATES, max(RAMP_SHARE * total_updates, 1))

    def decay_at(self, updates: int) -> float:
        """Share of the old average that update number `updates`, from 1, keeps."""
        return self._max_decay * (1 - math.exp(-updates / self._ramp))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model; call once after each weight update."""
        self.updates += 1
        torch._foreach_lerp_(self._averaged, self._sources, 1 - self.decay_at(self.updates))
        if self._copied:
            torch._foreach_copy_(self._copied, self._originals)
