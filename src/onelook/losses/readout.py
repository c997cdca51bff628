"""Reading objectness and candidates out of raw maps, with one gradient map instead of two and fixed sums.

Letters: B images, L maps, A anchors, H, W cells, K classes; N = B A H W cells of a map; R rows that are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

OBJECTNESS = 4


def row_strides(raw_map: Tensor) -> list[int]:
    """Steps from image to image, anchor to anchor, row to row and column to column of a map's memory, in cells.

    Args:
        raw_map: as returned by `with_whole_rows`.
    """
    return [stride // raw_map.shape[4] for stride in raw_map.stride()[:4]]


def with_whole_rows(raw_map: Tensor) -> Tensor:
    """`raw_map` (B, A, H, W, 5 + K) with the numbers of a cell side by side, as a channels-last network gives them."""
    channels = raw_map.shape[4]
    sides = sorted((stride, size) for stride, size in zip(raw_map.stride(), raw_map.shape, strict=True) if size > 1)
    steps = [1]
    for _, size in sides:
        steps.append(steps[-1] * size)
    is_dense = [stride for stride, _ in sides] == steps[:-1] and (channels == 1 or raw_map.stride(4) == 1)
    return raw_map if is_dense else raw_map.contiguous()


def read_maps(raw_maps: Sequence[Tensor], positions: Tensor) -> tuple[Tensor, Tensor]:
    """Objectness logits of all cells and all logits of the candidates, in at least float32.

    Plain indexing would build a gradient of the size of the map twice and add them up, and on several CPU threads sum
    the gradients of candidates that share a cell in any order. Here it is one map, and the order is fixed.

    Args:
        raw_maps: L maps of `with_whole_rows`, any floating type.
        positions: (L, R) int64 cells, counted in the order of each map's memory (`row_strides`).

    Returns:
        (sum of N,) the cells of all maps in the order of their memory, and (L, R, 5 + K).
    """
    objectness, matched = _ReadMaps.apply(positions, *raw_maps)  # type: ignore[no-untyped-call]
    return objectness, matched


class _ReadMaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, *raw_maps: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(positions)
        ctx.forms = [(raw_map.shape, raw_map.stride(), raw_map.dtype) for raw_map in raw_maps]
        memories = [_rows(raw_map) for raw_map in raw_maps]
        dtype = torch.promote_types(raw_maps[0].dtype, torch.float32)
        objectness = torch.cat([memory[:, OBJECTNESS] for memory in memories]).to(dtype)
        matched = torch.stack(
            [memory.index_select(0, position) for memory, position in zip(memories, positions, strict=True)]
        ).to(dtype)
        return objectness, matched

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, objectness_gradient: Tensor, matched_gradient: Tensor) -> tuple[Tensor | None, ...]:
        (positions,) = ctx.saved_tensors
        sizes = [shape.numel() // shape[4] for shape, _, _ in ctx.forms]
        gradients: list[Tensor] = []
        for form, position, objectness, matched in zip(
            ctx.forms, positions, torch.split(objectness_gradient, sizes), matched_gradient, strict=True
        ):
            shape, strides, dtype = form
            memory = objectness.new_zeros((len(objectness), shape[4]), dtype=dtype)
            memory[:, OBJECTNESS] = objectness
            _add_rows(memory, position, matched.to(dtype))
            gradients.append(memory.as_strided(shape, strides))
        return None, *gradients


def _rows(raw_map: Tensor) -> Tensor:
    """(N, 5 + K) the cells of a map in the order of its memory."""
    channels = raw_map.shape[4]
    return raw_map.as_strided((raw_map.numel() // channels, channels), (channels, 1))


def _add_rows(memory: Tensor, position: Tensor, rows: Tensor) -> None:
    """Add `rows` (R, C) to `memory` (N, C) in place at `position` (R,); rows of one position in a fixed order."""
    if memory.is_cuda:
        memory.index_put_((position,), rows, accumulate=True)  # sorts by position first
        return
    columns = torch.arange(rows.shape[1], device=rows.device)
    memory.view(-1).index_add_(0, (position[:, None] * rows.shape[1] + columns).view(-1), rows.reshape(-1))
