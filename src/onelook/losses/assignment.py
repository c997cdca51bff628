"""Which cells and anchors answer for which true box; no learning, no predictions involved.

Letters: L output maps, A anchors per cell, M targets, n matches of one map; H, W cells of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from onelook.structures.anchors import AnchorGrid
from onelook.structures.batch import Targets

# Own cell, left, upper, right and lower neighbour: the centre minus the shift, rounded down, is the cell.
_SHIFTS_XY = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5))


@dataclass(frozen=True)
class LayerMatches:
    """The n (target, anchor, cell) triples of one output map.

    Attributes:
        image_index, anchor_index, rows, columns: (n,) int64, the place in a (B, A, H, W) map.
        boxes: (n, 4) float32 cxcywh in cells, the centre relative to the top-left corner of the cell.
        anchors: (n, 2) float32 width, height of the matched anchor, in cells.
        class_ids: (n,) int64.
    """

    image_index: Tensor
    anchor_index: Tensor
    rows: Tensor
    columns: Tensor
    boxes: Tensor
    anchors: Tensor
    class_ids: Tensor

    def __len__(self) -> int:
        return self.image_index.shape[0]

    def to(self, device: torch.device) -> LayerMatches:
        """The same matches on `device`."""
        return LayerMatches(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))

    @property
    def place(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Index of the matches into a (B, A, H, W, ...) map."""
        return self.image_index, self.anchor_index, self.rows, self.columns


def assign(
    targets: Targets,
    anchor_grid: AnchorGrid,
    map_sizes: Sequence[tuple[int, int]],
    *,
    anchor_t: float,
    keep_duplicates: bool = False,
) -> list[LayerMatches]:
    """The matches of every output map.

    A target and an anchor match if no side differs by a factor of `anchor_t` or more. The cell that holds the centre
    answers, and of its neighbours the horizontally and the vertically nearest, where they exist. A target may have no
    match at all (its shape suits no anchor); several targets may claim one place.

    Runs on the device of `targets`: two waits for a GPU in all, none if the targets are still on the CPU.

    Args:
        targets: truth of the batch.
        anchor_grid: L maps with A anchors each.
        map_sizes: (H, W) of every map, cells.
        anchor_t: largest ratio of the sides, above 1.
        keep_duplicates: a centre exactly on a line between cells passes the test for both neighbours, and the second
            one rounds back into the own cell. Such repeats are dropped, unless this is set, as older trainers did.

    Returns:
        One `LayerMatches` per map: own cells first, then left, upper, right, lower; within these by anchor, target.
    """
    device = targets.boxes.device
    anchors = (anchor_grid.anchors / anchor_grid.strides[:, None, None]).to(device, torch.float32)  # (L, A, 2) cells
    sizes_wh = torch.tensor([(w, h) for h, w in map_sizes], dtype=torch.float32, device=device)[:, None, :]  # (L, 1, 2)
    centres = targets.boxes[None, :, 0:2] * sizes_wh  # (L, M, 2) cells
    box_wh = targets.boxes[None, :, 2:4] * sizes_wh
    cells = _cells(centres, sizes_wh)  # (L, 5, M, 2)
    reached = _reached(centres, sizes_wh)  # (L, 5, M)
    if not keep_duplicates:
        reached[:, 1:] &= (cells[:, 1:] != cells[:, :1]).any(dim=-1)
    fits = _shape_ratio(box_wh, anchors) < anchor_t  # (L, A, M)
    chosen = reached[:, :, None, :] & fits[:, None, :, :]  # (L, 5, A, M)

    layer, shift, anchor, target = chosen.nonzero(as_tuple=True)
    cell = cells[layer, shift, target]  # (n, 2) x, y
    boxes = torch.cat([centres[layer, target] - cell, box_wh[layer, target]], dim=1)
    columns, rows = cell.long().unbind(dim=1)
    result = (
        targets.image_index[target],
        anchor,
        rows,
        columns,
        boxes,
        anchors[layer, anchor],
        targets.class_ids[target],
    )
    counts: list[int] = chosen.sum(dim=(1, 2, 3)).tolist()
    return [LayerMatches(*parts) for parts in zip(*(torch.split(column, counts) for column in result), strict=True)]


def _shape_ratio(box_wh: Tensor, anchors: Tensor) -> Tensor:
    """Factor by which the worse side of anchor and box differs, (L, A, M), at least 1; infinite for an empty box."""
    ratio = box_wh[:, None, :, :] / anchors[:, :, None, :]
    return torch.maximum(ratio, 1 / ratio).amax(dim=-1)


def _reached(centres: Tensor, sizes_wh: Tensor) -> Tensor:
    """Whether own cell, left, upper, right, lower neighbour answer for a centre, (L, 5, M) bool."""
    from_far_side = sizes_wh - centres
    near = (centres.frac() < 0.5) & (centres > 1)  # left, upper
    far = (from_far_side.frac() < 0.5) & (from_far_side > 1)  # right, lower
    own = torch.ones_like(near[..., :1])
    return torch.cat([own, near, far], dim=-1).transpose(1, 2).contiguous()


def _cells(centres: Tensor, sizes_wh: Tensor) -> Tensor:
    """Column and row of the five candidate cells of every centre, inside the map, (L, 5, M, 2) float32."""
    shifts = torch.tensor(_SHIFTS_XY, dtype=torch.float32, device=centres.device)[None, :, None, :]
    cells = (centres[:, None, :, :] - shifts).floor().clamp(min=0)
    return torch.minimum(cells, (sizes_wh - 1)[:, None, :, :])
