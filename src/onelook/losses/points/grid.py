"""The cells of all maps as one list of points.

Letters: B images, L maps, H, W cells of a map, P points of an image (all maps together), C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class PointGrid:
    """The P cells of an image in the order of the maps, row by row.

    Attributes:
        cells: (P, 2) column and row.
        stride_px: (P, 1) pixels per cell.
    """

    cells: Tensor
    stride_px: Tensor

    def __len__(self) -> int:
        return self.stride_px.shape[0]

    def at(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Cells (n, 2) and strides (n, 1) of (n,) points of a batch, each image * P + point of the image."""
        of_image = point % len(self)
        return self.cells[of_image], self.stride_px[of_image]


def point_grid(raw_maps: Sequence[Tensor], strides: Sequence[float]) -> PointGrid:
    """The points of L maps (B, 1, H, W, C), on their device and in at least float32."""
    first = raw_maps[0]
    sizes = tuple((raw_map.shape[2], raw_map.shape[3]) for raw_map in raw_maps)
    return _grid(sizes, tuple(strides), torch.promote_types(first.dtype, torch.float32), first.device)


@cache
def _grid(
    map_sizes: tuple[tuple[int, int], ...], strides: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> PointGrid:
    """Made once and kept: a recorded loss reads it where it is."""
    cells, stride_px = [], []
    with torch.inference_mode(False):
        for (height, width), stride in zip(map_sizes, strides, strict=True):
            rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            cells.append(torch.stack((columns, rows), dim=-1).flatten(0, 1))
            stride_px.append(torch.full((height * width, 1), stride, dtype=dtype))
        return PointGrid(torch.cat(cells).to(dtype).to(device), torch.cat(stride_px).to(device))


def flatten_maps(raw_maps: Sequence[Tensor]) -> Tensor:
    """L maps (B, 1, H, W, C) as (B, P, C), in at least float32."""
    flat = torch.cat([raw_map.flatten(1, 3) for raw_map in raw_maps], dim=1)
    return flat.to(torch.promote_types(flat.dtype, torch.float32))
