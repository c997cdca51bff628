"""Running statistics of a batch that is computed in shards: one change per batch, wherever the shards are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onelook.losses.detection_loss import DetectionLoss
from onelook.processes.process_group import ProcessGroup

_BatchNorm = nn.modules.batchnorm._BatchNorm


class SharedStatistics:
    """Lets every shard start from the same running statistics, and leaves the mean of what they made of them.

    These are the means and variances of batch-norm layers, and the weights of the output maps in the loss. The mean is
    taken in the order of the shards, so that it does not depend on their processes. For every batch: `begin`,
    `end_shard` after every shard, `finish`; or `discard`.

    Args:
        model: layers that are in evaluation mode when a batch begins are left alone.
        loss: with its weights, which move under auto-balance.
        group: the processes of the run.
    """

    def __init__(self, model: nn.Module, loss: DetectionLoss, group: ProcessGroup) -> None:
        self._layers = [
            layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats
        ]
        self._loss = loss
        self._group = group
        self._device = next(model.parameters()).device
        self._is_used: list[bool] = []
        self._running: list[Tensor] = []
        self._counts: list[Tensor] = []
        self._start = torch.empty(0)
        self._start_counts: list[Tensor] = []
        self._found: list[Tensor] = []

    def begin(self, is_used: Sequence[bool]) -> None:
        """Remember where the shards start.

        Args:
            is_used: for every shard of the batch, in all processes, whether it is computed.
        """
        self._is_used = list(is_used)
        training = [layer for layer in self._layers if layer.training]
        running = [buffer for layer in training for buffer in (layer.running_mean, layer.running_var)]
        self._running = [buffer for buffer in running if buffer is not None]
        self._counts = [layer.num_batches_tracked for layer in training if layer.num_batches_tracked is not None]
        self._start = self._now()
        self._start_counts = [count.clone() for count in self._counts]
        self._found = []

    def end_shard(self) -> None:
        """Note what a shard made of the statistics, and let the next one start where it did."""
        if len(self._is_used) > 1:
            self._found.append(self._now())
            self._put(self._start)

    def finish(self) -> None:
        """Leave the mean over all shards that were computed."""
        if len(self._is_used) == 1:
            return
        own_shards = len(self._is_used) // self._group.world_size
        rows = torch.stack([*self._found, *[self._start] * (own_shards - len(self._found))])
        used = iter(self._is_used)
        total = torch.zeros_like(self._start)
        for found in self._group.gather(rows):
            mine = [next(used) for _ in range(own_shards)]
            for row in found[: sum(mine)]:
                total = total + row
        self._put(total / sum(self._is_used))
        for count, start in zip(self._counts, self._start_counts, strict=True):
            count.copy_(start + 1)

    def discard(self) -> None:
        """Put everything back to where the shards started."""
        self._put(self._start)
        for count, start in zip(self._counts, self._start_counts, strict=True):
            count.copy_(start)

    def _now(self) -> Tensor:
        """All statistics one after the other; the weights of the loss come last."""
        return torch.cat([*(buffer.detach() for buffer in self._running), self._loss.balance.to(self._device)])

    def _put(self, values: Tensor) -> None:
        sizes = [buffer.numel() for buffer in self._running]
        *parts, balance = torch.split(values, [*sizes, self._loss.balance.numel()])
        for buffer, part in zip(self._running, parts, strict=True):
            buffer.copy_(part)
        self._loss.balance = balance.clone()
