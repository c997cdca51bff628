"""The shapes of frequent operations on the meta device, without torch's compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor
from torch.overrides import TorchFunctionMode

KEEP_THE_SHAPE = {F.batch_norm, F.silu, F.leaky_relu, F.relu, F.hardswish}


class ShapeRules(TorchFunctionMode):
    """The shapes of frequent operations on the meta device by rule, of all others by torch.

    Torch finds them by parts of its compiler, which take a second to import and then longer than a rule.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in KEEP_THE_SHAPE or (func is Tensor.add and args[0].shape == getattr(args[1], "shape", None)):
            return args[0]
        rule = RULES.get(func)
        found = rule(*args, **(kwargs or {})) if rule else None
        return func(*args, **(kwargs or {})) if found is None else found


def _convolved(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """A tensor of the shape that `torch.conv2d` would give; None if the maps do not fit."""
    if maps.ndim != 4 or maps.shape[1] != weight.shape[1] * groups or isinstance(padding, str):
        return None
    sides = _windows(maps.shape[2:], weight.shape[2:], stride, padding, dilation)
    return maps.new_empty([maps.shape[0], weight.shape[0], *sides]) if min(sides) > 0 else None


def _pooled(
    maps: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, **others: bool
) -> Tensor | None:
    """A tensor of the shape that `F.max_pool2d` would give; None if the maps do not fit, or more is asked for."""
    too_wide = any(2 * pad > kernel for pad, kernel in zip(_pair(padding), _pair(kernel_size), strict=True))
    if maps.ndim != 4 or too_wide or any(others.values()):
        return None
    sides = _windows(maps.shape[2:], kernel_size, stride or kernel_size, padding, dilation)
    return maps.new_empty([*maps.shape[:2], *sides]) if min(sides) > 0 else None


def _scaled(maps: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", **_: Any) -> Tensor | None:
    """A tensor of the shape that `F.interpolate` would give; None if it is not asked for maps scaled by a number."""
    if maps.ndim != 4 or size is not None or mode != "nearest" or not isinstance(scale_factor, int | float):
        return None
    sides = [int(side * scale_factor) for side in maps.shape[2:]]
    return maps.new_empty([*maps.shape[:2], *sides]) if min(sides) > 0 else None


def _windows(size_hw: Sequence[int], kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[int]:
    """How often a kernel fits below and beside itself into maps of `size_hw`."""
    steps = (size_hw, _pair(kernel), _pair(stride), _pair(padding), _pair(dilation))
    return [
        (side + 2 * pad - by * (width - 1) - 1) // step + 1 for side, width, step, pad, by in zip(*steps, strict=True)
    ]


def _pair(value: Any) -> Sequence[int]:
    return (value, value) if isinstance(value, int) else value


def _joined(maps: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    """A tensor of the shape that `torch.cat` would give; None if the maps do not fit together."""
    if not -maps[0].ndim <= dim < maps[0].ndim or len({one.ndim for one in maps}) > 1:
        return None
    dim %= maps[0].ndim
    shapes = [list(one.shape) for one in maps]
    along = sum(shape.pop(dim) for shape in shapes)
    if any(shape != shapes[0] for shape in shapes):
        return None
    return maps[0].new_empty([*shapes[0][:dim], along, *shapes[0][dim:]])


RULES: dict[Any, Callable[..., Tensor | None]] = {
    torch.cat: _joined,
    torch.conv2d: _convolved,
    F.max_pool2d: _pooled,
    F.interpolate: _scaled,
}
