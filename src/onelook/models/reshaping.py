"""Blocks that join maps or trade pixels for channels. Letters: B images, C channels, H x W cells, g gain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Concat(nn.Module):
    """The given maps, stacked as channels."""

    def __init__(self, dimension: int = 1) -> None:
        super().__init__()
        self.dimension = dimension

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(maps), dim=self.dimension)


class Contract(nn.Module):
    """Space to depth: (B, C, H, W) -> (B, C g², H/g, W/g), channels ordered by row phase, column phase, channel."""

    def __init__(self, gain: int = 2) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        g = self.gain
        cells = x.reshape(batch, channels, height // g, g, width // g, g)
        return cells.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * g * g, height // g, width // g)


class Expand(nn.Module):
    """Depth to space, the inverse of `Contract`: (B, C, H, W) -> (B, C / g², H g, W g)."""

    def __init__(self, gain: int = 2) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        g = self.gain
        phases = x.reshape(batch, g, g, channels // (g * g), height, width)
        return phases.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // (g * g), height * g, width * g)


class Sum(nn.Module):
    """Sum of maps of equal shape; if `weighted`, all but the first are scaled by 2 sigmoid(w), w = -1/2, -2/2, ..."""

    def __init__(self, num_inputs: int, weighted: bool = False) -> None:
        super().__init__()
        self.w = nn.Parameter(-torch.arange(1.0, num_inputs) / 2) if weighted else None

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        total = maps[0]
        gains = None if self.w is None else 2 * torch.sigmoid(self.w)
        for i, added in enumerate(maps[1:]):
            total = total + (added if gains is None else gains[i] * added)
        return total
