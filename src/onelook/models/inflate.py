"""Batch-norms for a model whose own were folded into its convolutions: those that its data would have given it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from onelook.errors import ModelError
from onelook.models.convolutions import BATCH_NORM_EPSILON, Conv


@torch.no_grad()
def inflated(fused: nn.Module, images: Iterable[Tensor]) -> dict[str, Tensor]:
    """The state of the model that `fused` was made from, with batch-norms that suit `images`.

    Each convolution keeps its kernel; mean and variance of what it gives before its bias, per channel over all images,
    become those of its batch-norm, whose scale and shift undo them: in evaluation mode the model does what `fused`
    does, up to rounding, and on such images it does nearly so in training mode.

    Args:
        fused: see `fuse`; not changed. Its parts without batch-norm stay as they are.
        images: batches (B, C, H, W) from 0 to 1.

    Raises:
        ModelError: there are no images.
    """
    statistics = {
        name: _Statistics(module)
        for name, module in fused.named_modules()
        if isinstance(module, Conv) and module.bn is None
    }
    handles = [of.convolution.register_forward_hook(of.add) for of in statistics.values()]
    try:
        for batch in images:
            fused(batch)
    finally:
        for handle in handles:
            handle.remove()
    state = dict(fused.state_dict())
    for name, of in statistics.items():
        state |= {f"{name}.bn.{part}": tensor for part, tensor in of.batch_norm().items()}
        del state[f"{name}.conv.bias"]
    return state


class _Statistics:
    """Mean and variance of a convolution's outputs before its bias, in float64."""

    def __init__(self, block: Conv) -> None:
        self.convolution = block.conv
        self._bias = block.conv.get_parameter("bias").detach()
        self._count = 0
        self._sum = torch.zeros(len(self._bias), dtype=torch.float64)
        self._squares = torch.zeros(len(self._bias), dtype=torch.float64)

    def add(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Take in the outputs of a batch."""
        values = output.double() - self._bias.double()[:, None, None]
        self._count += values.numel() // values.shape[1]
        self._sum += values.sum(dim=(0, 2, 3)).cpu()
        self._squares += values.square().sum(dim=(0, 2, 3)).cpu()

    def batch_norm(self) -> dict[str, Tensor]:
        """State of the batch-norm."""
        if self._count == 0:
            raise ModelError("batch-norms can be found with images only, and there are none")
        mean = self._sum / self._count
        variance = (self._squares / self._count - mean.square()).clamp(min=0)
        return {
            "weight": torch.sqrt(variance + BATCH_NORM_EPSILON).float(),
            "bias": (self._bias.double().cpu() + mean).float(),
            "running_mean": mean.float(),
            "running_var": variance.float(),
            "num_batches_tracked": torch.zeros((), dtype=torch.int64),
        }
