"""Random change of hue, saturation and value on tensors, with the rounding of OpenCV 5, see `colour.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from onelook.data.augment.colour import HUES

SHIFT = 12  # bits after the point in OpenCV's divisions by table


def changed_colours(rgb: Tensor, tables: Tensor, is_changed: Tensor) -> Tensor:
    """Images (B, H, W, 3) uint8 RGB with new colours.

    Args:
        rgb: the images.
        tables: (B, 3, 256) uint8 new hue, saturation and value for each old one.
        is_changed: (B,) bool; the other images stay as they are.
    """
    hsv = _to_hsv(rgb.int())
    offsets = torch.arange(tables.shape[0], device=rgb.device)[:, None, None, None] * 3
    planes = offsets + torch.arange(3, device=rgb.device)
    changed = _to_rgb(tables.flatten()[planes * 256 + hsv])
    return torch.where(is_changed[:, None, None, None], changed, rgb)


def _to_hsv(rgb: Tensor) -> Tensor:
    """(..., 3) int32: hue in half degrees, saturation and value from 0 to 255."""
    red, green, blue = rgb.unbind(-1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    numbers = torch.arange(256, device=rgb.device, dtype=torch.float64).clamp(min=1)
    # Chroma and value 0 come with numerators of 0, so what stands for them does not count.
    per_chroma, per_value = ((top * (1 << SHIFT) / numbers).round().int() for top in (HUES / 6, 255))
    half = 1 << SHIFT - 1
    hue = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma),
    )
    hue = (hue * per_chroma[chroma] + half) >> SHIFT
    saturation = (chroma * per_value[value] + half) >> SHIFT
    return torch.stack([torch.where(hue < 0, hue + HUES, hue), saturation, value], dim=-1)


def _to_rgb(hsv: Tensor) -> Tensor:
    """(..., 3) uint8, rounded down."""
    hue, saturation, value = hsv.float().unbind(-1)
    sixths, saturation, value = hue * (6 / HUES), saturation * (1 / 255), value * (1 / 255)
    sector = sixths.floor()
    share = sixths - sector
    lowest, falling = value * (1 - saturation), value * (1 - saturation * share)
    rising = value * (1 - saturation * (1 - share))

    def channel(shift: int) -> Tensor:
        sixth = (sector + shift) % 6
        is_lowest = (sixth == 2) | (sixth == 3)
        rest = torch.where(sixth == 4, rising, value)
        return torch.where(sixth == 1, falling, torch.where(is_lowest, lowest, rest))

    return (torch.stack([channel(shift) for shift in (0, 4, 2)], dim=-1) * 255).to(torch.uint8)
