"""Reading objectness and matched cells out of a raw map, with one gradient map in place of two and fixed sums.

Letters: B images, A anchors, H, W cells, K classes, n matches.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

OBJECTNESS = 4


def read_map(raw_map: Tensor, place: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Objectness logits of all cells and all logits of the matched ones, in float32.

    Plain indexing would build a gradient of the size of the map twice and add them up, and on several CPU threads sum
    the gradients of matches that share a cell in any order. Here it is one map, and the order is that of the matches.

    Args:
        raw_map: (B, A, H, W, 5 + K) logits, any floating type.
        place: four (n,) int64 indices into B, A, H, W.

    Returns:
        (B, A, H, W) and (n, 5 + K).
    """
    objectness, matched = _ReadMap.apply(raw_map, *place)  # type: ignore[no-untyped-call]
    return objectness, matched


class _ReadMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw_map: Tensor, *place: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*place)
        ctx.device = raw_map.device
        ctx.form = torch.empty_like(raw_map, device="meta")  # shape, type and memory order, without the memory
        return raw_map[..., OBJECTNESS].float().contiguous(), raw_map[place].float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, objectness_gradient: Tensor, matched_gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient = torch.zeros_like(ctx.form, device=ctx.device)
        gradient[..., OBJECTNESS] = objectness_gradient
        add_at(gradient, ctx.saved_tensors, matched_gradient.to(gradient.dtype))
        return gradient, None, None, None, None


def add_at(dense_map: Tensor, place: tuple[Tensor, ...], rows: Tensor) -> None:
    """Add `rows` (n, C) to `dense_map` (..., C) in place at the indices `place`, equal places summed in a fixed order.

    Args:
        dense_map: not overlapping and dense in memory, as fresh tensors are, in any order of dimensions.
        place: one (n,) int64 index per leading dimension.
        rows: same type as the map.
    """
    if dense_map.is_cuda:
        dense_map.index_put_(place, rows, accumulate=True)  # sorts by place first
        return
    offsets = torch.arange(rows.shape[1], device=rows.device)[None, :] * dense_map.stride(-1)
    for index, stride in zip(place, dense_map.stride(), strict=False):
        offsets = offsets + index[:, None] * stride
    memory = dense_map.as_strided((dense_map.numel(),), (1,))
    memory.index_add_(0, offsets.flatten(), rows.flatten())
