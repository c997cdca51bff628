"""Random change of hue, saturation and value, with OpenCV or on a device with its rounding; labels stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onelook.data.augment.draft import Draft, Stream
from onelook.data.augment.plan import Image, Sample

Gains = tuple[float, float, float]
HUES = 180  # OpenCV keeps hue in half degrees
STRIP_ROWS = 128  # at a time: what stays in the cache is worked on at twice the speed
SHIFT = 12  # bits after the point in OpenCV's divisions by table


def draw(draft: Draft, stream: Stream) -> None:
    """Factors for hue, saturation and value, within the three settings."""
    ranges = draft.hyperparameters.hsv_h, draft.hyperparameters.hsv_s, draft.hyperparameters.hsv_v
    if any(ranges):
        hue, saturation, value = (1 + stream(0).uniform(-1, 1, 3) * ranges).tolist()
        draft.steps.append(ColourChange((hue, saturation, value)))


@dataclass(frozen=True)
class ColourChange:
    """New colours by factors, `gains`, for hue, saturation and value."""

    gains: Gains

    def apply(self, sample: Sample) -> Sample:
        """See `Step`."""
        change_colours(sample.image, self.gains)
        return sample

    @classmethod
    def packed(cls, steps: Sequence[ColourChange | None]) -> tuple[Tensor, Tensor]:
        """See `DeviceStep`: tables (B, 3, 256) uint8 of `colour_tables`, and whether (B,) an image is changed."""
        gains = [(1.0, 1.0, 1.0) if step is None else step.gains for step in steps]
        tables = torch.from_numpy(np.stack([colour_tables(own) for own in gains]))
        return tables, torch.tensor([step is not None for step in steps])

    @classmethod
    def apply_on_device(cls, images: Tensor, *packed: Tensor) -> Tensor:
        """See `DeviceStep`."""
        tables, is_changed = packed
        hsv = _to_hsv(images.int())
        offsets = torch.arange(tables.shape[0], device=images.device)[:, None, None, None] * 3
        planes = offsets + torch.arange(3, device=images.device)
        changed = _to_rgb(tables.flatten()[planes * 256 + hsv])
        return torch.where(is_changed[:, None, None, None], changed, images)


def colour_tables(gains: Gains) -> npt.NDArray[np.uint8]:
    """(3, 256) new hue (0 to 179), saturation and value (0 to 255) for each old one.

    >>> colour_tables((1.0, 0.5, 2.0))[:, 200].tolist()
    [20, 100, 255]
    """
    levels = np.arange(256, dtype=np.float64)
    tables = np.empty((3, 256), np.uint8)
    tables[0] = (levels * gains[0]) % HUES
    tables[1] = np.clip(levels * gains[1], 0, 255)
    tables[2] = np.clip(levels * gains[2], 0, 255)
    return tables


def change_colours(rgb: Image, gains: Gains) -> None:
    """Apply the gains to an RGB image (H, W, 3), in place."""
    tables = colour_tables(gains)
    hsv_strip = np.empty((STRIP_ROWS, *rgb.shape[1:]), np.uint8)
    plane_strips = np.empty((3, *hsv_strip.shape[:2]), np.uint8)
    for top in range(0, rgb.shape[0], STRIP_ROWS):
        strip = rgb[top : top + STRIP_ROWS]
        hsv = hsv_strip[: len(strip)]
        planes = list(plane_strips[:, : len(strip)])  # three plain look-ups are faster than one of three channels
        cv2.cvtColor(strip, cv2.COLOR_RGB2HSV, dst=hsv)
        cv2.split(hsv, planes)
        for plane, table in zip(planes, tables, strict=True):
            cv2.LUT(plane, table, dst=plane)
        cv2.merge(planes, dst=hsv)
        cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=strip)


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
        value == red, green - blue, torch.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma)
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
