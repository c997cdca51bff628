"""Chooses one of the cells that find the same object, without sorting boxes or iterating over them.

Each cell is compared with the cells around it, in its own map and in the next finer and coarser one: a fixed number of
planes, whatever the image holds. Soft-NMS (Bodla et al., 2017) and Matrix NMS (Wang et al., SOLOv2, 2020) lower scores
by overlap too, but those of sorted lists.

Letters: B images, C planes, H x W cells, n = 9 neighbours, the cell itself included.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, max_pool2d

SURENESS = 5
_REACH = 2
"""Steps from neighbour to neighbour: cells that find one object may lie further apart than one."""
_SAME_FROM, _SAME_TO = 0.5, 0.8
"""Boxes that overlap by less are two objects, by more one; between, more and more so: a step could go either way."""
_SMALLEST_AREA = 1e-4
_SIDE = 3
_NUM_NEIGHBOURS = _SIDE * _SIDE
_CENTRE = slice(_NUM_NEIGHBOURS // 2, _NUM_NEIGHBOURS // 2 + 1)
"""Index of the cell itself among its neighbours."""


def leads_of_rivals(planes: Sequence[Tensor], factors: Sequence[int]) -> list[Tensor]:
    """By how much the surest rival of each cell exceeds it in confidence, (B, 1, H, W) of each map, 0 if none does.

    A rival is a neighbour with the same class and nearly the same box, and a rival of a rival. Its lead is the
    difference of the logarithms, times how much the boxes are one.

    Args:
        planes: for each map, the finest first, (B, 6, H, W) float32: x1, y1, x2, y2 in one unit for all maps, number of
            the class, and the logarithm of how sure the cell is.
        factors: ratios of the strides of neighbouring maps, coarse to fine.
    """
    around = [_neighbours(cells) for cells in planes]
    shares = [_share(near, near) for near in around]
    coarse = [
        [interpolate(plane, scale_factor=factor) for plane in near]
        for near, factor in zip(around[1:], factors, strict=True)
    ]
    shares_of_next = [_share(near, near_of_next) for near, near_of_next in zip(around, coarse, strict=False)]
    own = [near[SURENESS][:, _CENTRE] for near in around]
    best = own
    for _step in range(_REACH):
        near_best = [_neighbours(sureness)[0] for sureness in best]
        found = [_most(share * (there - here)) for share, there, here in zip(shares, near_best, own, strict=True)]
        for number, (share, factor) in enumerate(zip(shares_of_next, factors, strict=True)):
            of_coarse = share * (interpolate(near_best[number + 1], scale_factor=factor) - own[number])
            # What the fine cells in a coarse one are ahead of each neighbour of that; then as these neighbours see it.
            of_fine = max_pool2d(share * (best[number] - coarse[number][SURENESS]), factor)
            kernels = _one_each(of_fine).flip(0)
            of_fine = conv2d(of_fine, kernels, padding=_SIDE // 2, groups=_NUM_NEIGHBOURS)
            found[number] = torch.maximum(found[number], _most(of_coarse))
            found[number + 1] = torch.maximum(found[number + 1], _most(of_fine))
        best = [here + lead for here, lead in zip(own, found, strict=True)]
    return [there - here for there, here in zip(best, own, strict=True)]


def _most(leads: Tensor) -> Tensor:
    return leads.amax(dim=1, keepdim=True).clamp(min=0)


def _share(around: Sequence[Tensor], near: Sequence[Tensor]) -> Tensor:
    """(B, n, H, W) from 0 to 1, to what degree cells and their neighbours have found the same object.

    Args:
        around: `_neighbours` of the cells, the cells themselves included.
        near: those `_neighbours` that they are compared with.
    """
    left, top, right, bottom, class_id = (plane[:, _CENTRE] for plane in around[:SURENESS])
    near_left, near_top, near_right, near_bottom, near_class_id = near[:SURENESS]
    width = (torch.minimum(right, near_right) - torch.maximum(left, near_left)).clamp(min=0)
    height = (torch.minimum(bottom, near_bottom) - torch.maximum(top, near_top)).clamp(min=0)
    common = width * height
    both = (right - left) * (bottom - top) + (near_right - near_left) * (near_bottom - near_top) - common
    overlap = common / both.clamp(min=_SMALLEST_AREA)
    return ((overlap - _SAME_FROM) / (_SAME_TO - _SAME_FROM)).clamp(0, 1) * (near_class_id == class_id)


def _neighbours(planes: Tensor) -> list[Tensor]:
    """C tensors (B, n, H, W) of (B, C, H, W) planes; beyond the border 0, a box without area.

    A convolution does this on every run time. Where one rounds to 11 bits, as GPUs may, cells are rounded as well as
    their neighbours, since they are taken from here too.
    """
    kernels = _one_each(planes).repeat(planes.shape[1], 1, 1, 1)
    near = conv2d(planes, kernels, padding=_SIDE // 2, groups=planes.shape[1])
    return list(torch.split(near, _NUM_NEIGHBOURS, dim=1))


def _one_each(like: Tensor) -> Tensor:
    """(n, 1, 3, 3) kernels that take one neighbour each."""
    return torch.eye(_NUM_NEIGHBOURS, dtype=like.dtype, device=like.device).view(-1, 1, _SIDE, _SIDE)
