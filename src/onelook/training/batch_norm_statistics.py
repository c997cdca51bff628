"""Running statistics of a batch computed in micro-batches: one change per batch, whichever process computes them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onelook.losses.protocol import FamilyLoss
from onelook.processes.process_group import ProcessGroup

_BatchNorm = nn.modules.batchnorm._BatchNorm


class SharedStatistics:
    """Lets every micro-batch start from the same running statistics, and leaves the mean of what they made of them.

    These are the means and variances of batch-norm layers, and the weights of the output maps in the loss. The mean is
    taken in the order of the micro-batches, so that it does not depend on their processes. For every batch: `begin`,
    `end_micro_batch` after every micro-batch, `finish`; or `discard`.

    The layers' counters of batches are kept here meanwhile, and all move at once: layer by layer they cost as many
    kernel launches as there are layers.

    Args:
        model: layers that are in evaluation mode when a batch begins are left alone.
        loss: its weights of the maps move under auto-balance.
    """

    def __init__(self, model: nn.Module, loss: FamilyLoss, group: ProcessGroup) -> None:
        self._layers = [
            layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats
        ]
        self._loss = loss
        self._group = group
        self._device = next(model.parameters()).device
        self._is_used: list[bool] = []
        self._running: list[Tensor] = []
        self._counters: list[tuple[_BatchNorm, Tensor]] = []
        self._start = torch.empty(0)
        self._found: list[Tensor] = []

    def begin(self, is_used: Sequence[bool]) -> None:
        """Remember where the micro-batches start.

        Args:
            is_used: for every micro-batch of the batch, in all processes, whether it is computed.
        """
        self._is_used = list(is_used)
        training = [layer for layer in self._layers if layer.training]
        running = (buffer for layer in training for buffer in (layer.running_mean, layer.running_var))
        self._running = [buffer for buffer in running if buffer is not None]
        self._take_counters(training)
        self._start = self._now()
        self._found = []

    def end_micro_batch(self) -> None:
        """Note what a micro-batch made of the statistics, and let the next one start where it did."""
        if len(self._is_used) > 1:
            self._found.append(self._now())
            self._put(self._start)

    def finish(self, terms: Tensor) -> list[Tensor]:
        """Leave the mean over all micro-batches that were computed.

        Args:
            terms: (S, C) float32 numbers of this process's S micro-batches that are to be sent along.

        Returns:
            The `terms` of every process, in the order of their ranks.
        """
        sent = [terms]
        if len(self._is_used) > 1:
            mean, sent = self._mean(terms)
            self._put(mean)
        if self._counters:
            torch._foreach_add_([count for _, count in self._counters], 1)
        self._restore_counters()
        return sent

    def discard(self) -> None:
        """Put everything back to where the micro-batches started."""
        self._put(self._start)
        self._restore_counters()

    def _mean(self, terms: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The mean over the micro-batches, and the `terms` of all processes; in one exchange."""
        own_micro_batches, count = len(self._is_used) // self._group.world_size, len(self._start)
        rows = torch.stack([*self._found, *[self._start] * (own_micro_batches - len(self._found))])
        used = iter(self._is_used)
        total, sent = torch.zeros_like(self._start), []
        for found in self._group.gather(torch.cat([rows, terms.detach().to(rows)], dim=1)):
            mine = [next(used) for _ in range(own_micro_batches)]
            for row in found[: sum(mine), :count]:
                total = total + row
            sent.append(found[:, count:])
        return total / sum(self._is_used), sent

    def _take_counters(self, layers: Sequence[_BatchNorm]) -> None:
        """Without its counter a layer does everything but count; one without momentum needs it."""
        self._counters = []
        for layer in layers:
            if layer.num_batches_tracked is not None and layer.momentum is not None:
                self._counters.append((layer, layer.num_batches_tracked))
                layer.num_batches_tracked = None

    def _restore_counters(self) -> None:
        for layer, count in self._counters:
            layer.num_batches_tracked = count
        self._counters = []

    def _now(self) -> Tensor:
        """All statistics one after the other; the weights of the loss come last."""
        return torch.cat([*self._running, self._loss.balance.to(self._device)])

    def _put(self, values: Tensor) -> None:
        sizes = [buffer.numel() for buffer in self._running]
        *parts, balance = torch.split(values, [*sizes, self._loss.balance.numel()])
        if parts:
            torch._foreach_copy_(self._running, parts)
        self._loss.balance = balance.clone()
