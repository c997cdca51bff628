"""The running average of the weights, in full precision."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

LONGEST_MEMORY = 0.9999
RAMP_UPDATES = 2000


class ModelEma:
    """Exponential moving average of every floating tensor of a model's state; other tensors are copied.

    The decay grows with the number of updates n as 0.9999 (1 - exp(-n / 2000)), so that early averages forget fast.

    Args:
        model: copied once; the copy (`module`) stays in evaluation mode and has no gradients.
        updates: how many updates have been made, after a resume.
    """

    def __init__(self, model: nn.Module, *, updates: int = 0) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self.updates = updates
        self._averaged, self._sources, self._copied = _pairs(self.module, model)

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model; call once after each weight update."""
        self.updates += 1
        decay = LONGEST_MEMORY * (1 - math.exp(-self.updates / RAMP_UPDATES))
        torch._foreach_lerp_(self._averaged, self._sources, 1 - decay)
        for target, source in self._copied:
            target.copy_(source)


def _pairs(average: nn.Module, model: nn.Module) -> tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]:
    sources = model.state_dict(keep_vars=True)
    averaged, paired, copied = [], [], []
    for name, tensor in average.state_dict(keep_vars=True).items():
        if tensor.is_floating_point():
            averaged.append(tensor.detach())
            paired.append(sources[name].detach())
        else:
            copied.append((tensor, sources[name]))
    return averaged, paired, copied
