"""Which of the cells that find one object is to stand for it, without sorting boxes or going through a list of them.

Each cell is compared with the cells around it, in its own map and in the next finer and coarser one: a fixed number of
planes, whatever the image holds. Soft-NMS (Bodla et al., 2017) and Matrix NMS (Wang et al., SOLOv2, 2020) lower scores
by overlap too, but those of sorted lists.

Letters: B images, C planes, H x W cells, n = 9 neighbours, the cell itself included.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d, pad

SURENESS = 5
_REACH = 2
"""Steps from neighbour to neighbour: cells that find one object may lie further apart than one."""
_SAME_FROM, _SAME_TO = 0.5, 0.8
"""Boxes that overlap by less are two objects, by more one; between, more and more so: a step could go either way."""
_SMALLEST_AREA = 1e-4
_SLICES = tuple(product((slice(0, -2), slice(1, -1), slice(2, None)), repeat=2))
"""Rows and columns of a map with a border of 1, from the upper left neighbour of each cell to the lower right one."""


def leads_of_rivals(planes: Sequence[Tensor], factors: Sequence[int]) -> list[Tensor]:
    """By how much the surest rival of each cell is surer than the cell, (B, 1, H, W) of each map, 0 if none is.

    A rival is a neighbour with the same class and nearly the same box, and a rival of a rival. Its lead is the
    difference of the logarithms, times how much the boxes are one.

    Args:
        planes: of each map, the finest first, (B, 6, H, W) float32: x1, y1, x2, y2 in pixels, number of the class, and
            the logarithm of how sure the cell is.
        factors: how many cells of a map lie side by side in one of the next.
    """
    around = [_neighbours(cells) for cells in planes]
    shares = [_share(cells, near) for cells, near in zip(planes, around, strict=True)]
    coarse = [_enlarged(near, factor) for near, factor in zip(around[1:], factors, strict=True)]
    shares_of_next = [_share(cells, near) for cells, near in zip(planes, coarse, strict=False)]
    own = [cells[:, SURENESS:] for cells in planes]
    best = own
    for _step in range(_REACH):
        near = [_neighbours(sureness)[0] for sureness in best]
        found = [_most(share * (there - here)) for share, there, here in zip(shares, near, own, strict=True)]
        for number, (share, factor) in enumerate(zip(shares_of_next, factors, strict=True)):
            of_coarse = share * (interpolate(near[number + 1], scale_factor=factor) - own[number])
            # What the fine cells in a coarse one are ahead of each neighbour of that; then as these neighbours see it.
            of_fine = share * (best[number] - coarse[number][SURENESS])
            of_fine = _as_neighbours_see_it(max_pool2d(of_fine, factor))
            found[number] = torch.maximum(found[number], _most(of_coarse))
            found[number + 1] = torch.maximum(found[number + 1], _most(of_fine))
        best = [here + lead for here, lead in zip(own, found, strict=True)]
    return [there - here for there, here in zip(best, own, strict=True)]


def _most(leads: Tensor) -> Tensor:
    return leads.amax(dim=1, keepdim=True).clamp(min=0)


def _share(cells: Tensor, near: Sequence[Tensor]) -> Tensor:
    """(B, n, H, W) from 0 to 1, how much each cell and its neighbours have found the same object.

    Args:
        cells: (B, C, H, W).
        near: of `_neighbours`.
    """
    left, top, right, bottom, class_id = torch.split(cells[:, :SURENESS], 1, dim=1)
    near_left, near_top, near_right, near_bottom, near_class_id = near[:SURENESS]
    width = (torch.minimum(right, near_right) - torch.maximum(left, near_left)).clamp(min=0)
    height = (torch.minimum(bottom, near_bottom) - torch.maximum(top, near_top)).clamp(min=0)
    common = width * height
    both = (right - left) * (bottom - top) + (near_right - near_left) * (near_bottom - near_top) - common
    overlap = common / both.clamp(min=_SMALLEST_AREA)
    return ((overlap - _SAME_FROM) / (_SAME_TO - _SAME_FROM)).clamp(0, 1) * (near_class_id == class_id)


def _neighbours(planes: Tensor) -> list[Tensor]:
    """C tensors (B, n, H, W) of (B, C, H, W) planes; beyond the border 0, a box without area."""
    padded = torch.split(pad(planes, (1, 1, 1, 1)), 1, dim=1)
    return [torch.cat([plane[:, :, rows, columns] for rows, columns in _SLICES], dim=1) for plane in padded]


def _enlarged(planes: Sequence[Tensor], factor: int) -> list[Tensor]:
    return [interpolate(plane, scale_factor=factor) for plane in planes]


def _as_neighbours_see_it(of_each: Tensor) -> Tensor:
    """What cells say of each of their neighbours, (B, n, H, W), as what each cell is told by its neighbours."""
    padded = pad(of_each, (1, 1, 1, 1))
    told = [padded[:, number : number + 1, rows, columns] for number, (rows, columns) in enumerate(reversed(_SLICES))]
    return torch.cat(told, dim=1)
