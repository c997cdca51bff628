"""Faster models for inference: batch-norms folded into convolutions, 16 bits."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from onelook.models.convolutions import Conv
from onelook.models.detector import DetectionModel

ModelT = TypeVar("ModelT", bound=nn.Module)


def fuse(model: ModelT) -> ModelT:
    """A copy of `model` for inference only: in evaluation mode, without gradients, each `Conv` one convolution.

    The outputs are those of `model` in evaluation mode, up to rounding. Batch-norms outside of `Conv` stay.
    """
    fused = copy.deepcopy(model).eval().requires_grad_(False)
    for module in fused.modules():
        if isinstance(module, Conv) and module.bn is not None:
            module.conv = folded(module.conv, module.bn)
            module.bn = None
    return fused


def halved(model: DetectionModel) -> DetectionModel:
    """A copy of `model` in 16 bits; what its head keeps in 32, such as anchors, stays, since 16 would round it."""
    result = copy.deepcopy(model)
    kept = {name: getattr(result.head, name) for name in result.head.kept_in_32_bits}
    result.half()
    for name, buffer in kept.items():
        setattr(result.head, name, buffer)
    return result


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution that does what `convolution` and then `norm` in evaluation mode do.

    Computed in float64 and in main memory: not every device has float64.
    """
    mean, variance = (_in_64_bits(norm.get_buffer(name)) for name in ("running_mean", "running_var"))
    gain = _in_64_bits(norm.weight) / torch.sqrt(variance + norm.eps)
    bias = torch.zeros_like(mean) if convolution.bias is None else _in_64_bits(convolution.bias)
    weight = _in_64_bits(convolution.weight) * gain[:, None, None, None]
    bias = _in_64_bits(norm.bias) + (bias - mean) * gain
    result = copy.deepcopy(convolution)
    old = convolution.weight
    result.weight = nn.Parameter(weight.to(old.dtype).to(old.device), requires_grad=False)
    result.bias = nn.Parameter(bias.to(old.dtype).to(old.device), requires_grad=False)
    return result


def _in_64_bits(tensor: Tensor) -> Tensor:
    """`tensor` in main memory, or without data if it has none, in float64."""
    return (tensor if tensor.is_meta else tensor.detach().cpu()).double()
