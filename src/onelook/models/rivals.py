"""Which of the cells that find one object is to stand for it, without sorting boxes or going through a list of them.

Each cell is compared with the cells around it, in its own map and in the next finer and coarser one: a fixed number of
planes, whatever the image holds. Soft-NMS (Bodla et al., 2017) and Matrix NMS (Wang et al., SOLOv2, 2020) lower scores
by overlap too, but those of sorted lists.

Letters: B images, H x W cells, n = 9 neighbours, the cell itself included.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, max_pool2d

_SIDE = 3
_SAME_FROM, _SAME_TO = 0.5, 0.8
"""Boxes that overlap by less are two objects, by more one; between, more and more so: a step could go either way."""
_SMALLEST_AREA = 1e-4


def leads_of_rivals(planes: Sequence[Tensor], factors: Sequence[int]) -> list[Tensor]:
    """By how much the surest rival of each cell is surer than the cell, (B, 1, H, W) of each map, 0 if none is.

    A rival is a neighbour whose box is nearly the same. Its lead is the difference of the logarithms, times how much
    the boxes are one.

    Args:
        planes: of each map, the finest first, (B, 5, H, W) float32: x1, y1, x2, y2 in pixels, and the logarithm of how
            sure the cell is.
        factors: how many cells of a map lie side by side in one of the next.
    """
    around = [_neighbours(plane) for plane in planes]
    leads = [_lead(plane, near) for plane, near in zip(planes, around, strict=True)]
    for number, factor in enumerate(factors):
        fine, coarse = planes[number], [interpolate(near, scale_factor=factor) for near in around[number + 1]]
        share, ahead = _share(fine, coarse), coarse[4] - fine[:, 4:5]
        of_coarse = (share * ahead.clamp(min=0)).amax(dim=1, keepdim=True)
        leads[number] = torch.maximum(leads[number], of_coarse)
        # (B, n, H, W) what the cells in one coarse cell are ahead of each of its neighbours; then seen from these.
        of_fine = max_pool2d(share * (-ahead).clamp(min=0), factor)
        of_fine = conv2d(of_fine, _one_each(of_fine).flip(0), padding=_SIDE // 2, groups=_SIDE * _SIDE)
        leads[number + 1] = torch.maximum(leads[number + 1], of_fine.amax(dim=1, keepdim=True))
    return leads


def _lead(plane: Tensor, near: Sequence[Tensor]) -> Tensor:
    return (_share(plane, near) * (near[4] - plane[:, 4:5]).clamp(min=0)).amax(dim=1, keepdim=True)


def _share(plane: Tensor, near: Sequence[Tensor]) -> Tensor:
    """(B, n, H, W) from 0 to 1, how much the box of each cell and those of its neighbours are one."""
    left, top, right, bottom = (plane[:, side : side + 1] for side in range(4))
    width = (torch.minimum(right, near[2]) - torch.maximum(left, near[0])).clamp(min=0)
    height = (torch.minimum(bottom, near[3]) - torch.maximum(top, near[1])).clamp(min=0)
    common = width * height
    both = (right - left) * (bottom - top) + (near[2] - near[0]) * (near[3] - near[1]) - common
    return ((common / both.clamp(min=_SMALLEST_AREA) - _SAME_FROM) / (_SAME_TO - _SAME_FROM)).clamp(0, 1)


def _neighbours(plane: Tensor) -> list[Tensor]:
    """Five tensors (B, n, H, W), the numbers of the cells around each; beyond the border 0, a box without area."""
    kernels = _one_each(plane)
    return [conv2d(plane[:, number : number + 1], kernels, padding=_SIDE // 2) for number in range(plane.shape[1])]


def _one_each(like: Tensor) -> Tensor:
    """(n, 1, 3, 3) kernels that take one neighbour each."""
    return torch.eye(_SIDE * _SIDE, dtype=like.dtype, device=like.device).view(-1, 1, _SIDE, _SIDE)
