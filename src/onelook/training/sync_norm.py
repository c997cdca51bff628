"""Batch normalisation with the mean and variance over the images of all processes.

S. Ioffe, C. Szegedy, "Batch normalization", 2015, with sums over processes; the parts are combined as in T. Chan,
G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979. Runs on any
device that the processes can exchange tensors of, the CPU included.

Letters: B images of this process, C channels, H, W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from onelook.processes.process_group import ProcessGroup


class SyncBatchNorm(nn.BatchNorm2d):
    """A batch-norm layer that takes over parameters, statistics and names of another, and normalises over `group`.

    In evaluation mode it does what the other did.
    """

    def __init__(self, layer: nn.BatchNorm2d, group: ProcessGroup) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean, self.running_var = layer.running_mean, layer.running_var
        self.num_batches_tracked = layer.num_batches_tracked
        self.train(layer.training)
        self._group = group

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) normalised; B may be 0 in some processes, but not in all."""
        if not self.training:
            return super().forward(features)
        normalised, mean, variance, count = _Normalise.apply(  # type: ignore[no-untyped-call]
            features, self.eps, self._group
        )
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), self.momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        if self.affine:
            shape = (1, -1, 1, 1)
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        result: Tensor = normalised.to(features.dtype)
        return result


def synchronise_normalisation(model: nn.Module, group: ProcessGroup) -> None:
    """Replace every batch-norm layer of `model` by one that normalises over all processes; the parameters stay."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, SyncBatchNorm(child, group))


class _Normalise(Function):
    """(B, C, H, W) to mean 0 and variance 1 per channel, and mean, variance and number of values they were taken of."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, eps: float, group: ProcessGroup) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        values = features.to(torch.promote_types(features.dtype, torch.float32))
        own_count = values.numel() // values.shape[1]
        own_mean = values.mean((0, 2, 3)) if own_count else values.new_zeros(values.shape[1])
        spread = ((values - own_mean.view(1, -1, 1, 1)) ** 2).sum((0, 2, 3))
        own = torch.stack([own_mean, spread, torch.full_like(own_mean, own_count)])
        means, spreads, counts = torch.stack(group.gather(own)).unbind(1)  # each (processes, C)
        count = counts.sum(0)
        mean = (means * counts).sum(0) / count
        variance = (spreads + counts * (means - mean) ** 2).sum(0) / count
        scale = (variance + eps).rsqrt()
        normalised = (values - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1)
        ctx.save_for_backward(normalised, scale, count)
        ctx.group = group
        ctx.mark_non_differentiable(mean, variance, count)
        return normalised, mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        normalised, scale, count = ctx.saved_tensors
        own = torch.stack([gradient.sum((0, 2, 3)), (gradient * normalised).sum((0, 2, 3))])
        total = torch.stack(ctx.group.gather(own)).sum(0) / count
        plain, along = total[0].view(1, -1, 1, 1), total[1].view(1, -1, 1, 1)
        return (gradient - plain - normalised * along) * scale.view(1, -1, 1, 1), None, None
