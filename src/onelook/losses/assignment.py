"""Which cells and anchors are matched to which target, from shapes alone, without predictions.

Every (map, shift, anchor, target) is a row, match or not, so that all shapes follow from the number of targets alone: a
GPU is never asked how many matches there are.

Letters: L output maps, S = 5 shifts, A anchors per cell, M targets; B images; H, W cells of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from onelook.structures.anchors import AnchorGrid
from onelook.structures.batch import Targets

# Own cell, left, upper, right and lower neighbour: the centre minus the shift, rounded down, is the cell.
_SHIFTS_XY = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5))


@dataclass(frozen=True)
class Candidates:
    """All (map, shift, anchor, target); the first four dimensions broadcast to (L, S, A, M).

    Attributes:
        is_match: (L, S, A, M) bool, whether the cell and the anchor answer for the target.
        cells: (L, S, 1, M, 2) int64 column and row, always inside the map.
        boxes: (L, S, 1, M, 4) float32 cxcywh in cells, the centre relative to the top-left corner of the cell.
        anchors: (L, 1, A, 1, 2) float32 width, height in cells.
        image_index, class_ids: (M,) int64.
    """

    is_match: Tensor
    cells: Tensor
    boxes: Tensor
    anchors: Tensor
    image_index: Tensor
    class_ids: Tensor

    def positions(self, map_strides: Tensor) -> Tensor:
        """(L, S, A, M) int64 position of each candidate in the memory of its map, in whatever unit the strides have.

        Args:
            map_strides: (L, 4) int64 steps from image to image, anchor to anchor, row to row and column to column.
        """
        image, anchor, row, column = map_strides[:, None, None, None, :].unbind(dim=-1)
        numbers = torch.arange(self.anchors.shape[2], device=map_strides.device)[:, None]
        columns, rows = self.cells.unbind(dim=-1)
        return (rows * row + columns * column) + (self.image_index * image + numbers * anchor)


def find_candidates(
    targets: Targets,
    anchor_grid: AnchorGrid,
    map_sizes: Sequence[tuple[int, int]],
    *,
    anchor_t: float,
    keep_duplicates: bool = False,
) -> Candidates:
    """All candidates, and which of them are matches.

    A target and an anchor match if no side differs by a factor of `anchor_t` or more. The cell that holds the centre
    answers, and of its neighbours the horizontally and the vertically nearest, where they exist. A target may have no
    match at all (its shape suits no anchor; it has no area); several targets may claim one position.

    Runs on the device of `targets` and never waits for it.

    Args:
        targets: targets of the batch.
        anchor_grid: L maps with A anchors each, on the same device.
        map_sizes: (H, W) of every map, cells.
        anchor_t: largest ratio of the sides, above 1.
        keep_duplicates: a centre exactly on a line between cells passes the test for both neighbours, and the second
            one rounds back into the own cell. Such repeats are dropped, unless this is set, as older trainers did.
    """
    anchors = anchor_grid.anchors / anchor_grid.strides[:, None, None]  # (L, A, 2) cells
    sizes_wh, shifts = _constants(tuple(map_sizes), targets.boxes.device)  # (L, 1, 2), (S, 1, 2)
    centres, box_wh = torch.split(targets.boxes * torch.cat([sizes_wh, sizes_wh], dim=2), 2, dim=2)  # (L, M, 2) cells
    cells = (centres[:, None] - shifts).floor().clamp(min=0)
    cells = torch.minimum(cells, sizes_wh[:, None] - 1)  # (L, S, M, 2)
    reached = _reached(centres, sizes_wh)  # (L, S, M)
    if not keep_duplicates:
        reached[:, 1:] &= (cells[:, 1:] != cells[:, :1]).any(dim=-1)
    fits = _shape_ratio(box_wh, anchors) < anchor_t  # (L, A, M)
    boxes = torch.cat([centres[:, None] - cells, box_wh[:, None].expand_as(cells)], dim=3)
    return Candidates(
        is_match=reached[:, :, None] & fits[:, None],
        cells=cells[:, :, None].long(),
        boxes=boxes[:, :, None],
        anchors=anchors[:, None, :, None],
        image_index=targets.image_index,
        class_ids=targets.class_ids,
    )


@cache
def _constants(map_sizes: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Sizes of the maps, (L, 1, 2) width, height, and the shifts, (S, 1, 2).

    Copied to the device once and kept: a recorded loss reads them where they are.
    """
    with torch.inference_mode(False):
        sizes_wh = torch.tensor([(w, h) for h, w in map_sizes], dtype=torch.float32, device=device)[:, None]
        return sizes_wh, torch.tensor(_SHIFTS_XY, dtype=torch.float32, device=device)[:, None]


def _shape_ratio(box_wh: Tensor, anchors: Tensor) -> Tensor:
    """Factor by which the worse side of anchor and box differs, (L, A, M), at least 1; infinite for an empty box."""
    ratio = box_wh[:, None, :, :] / anchors[:, :, None, :]
    return torch.maximum(ratio, 1 / ratio).amax(dim=-1)


def _reached(centres: Tensor, sizes_wh: Tensor) -> Tensor:
    """Whether own cell, left, upper, right, lower neighbour answer for a centre, (L, S, M) bool."""
    from_sides = torch.cat([centres, sizes_wh - centres], dim=-1)  # left, upper, right, lower
    near = (from_sides.frac() < 0.5) & (from_sides > 1)
    own = torch.ones_like(near[..., :1])
    return torch.cat([own, near], dim=-1).transpose(1, 2).contiguous()
