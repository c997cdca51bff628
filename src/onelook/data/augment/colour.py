"""Random change of hue, saturation and value, with OpenCV or on a device with its rounding; labels stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
LANES = 64  # bytes: no processor works on more at a time, so a multiple is rounded by one kind of instruction
ROUND_DOWN = 1e-5 - 0.5  # added before rounding to the nearest; whole numbers stay, though float32 has them inexact
SHIFT = 12  # bits after the point in OpenCV's divisions by table
_LEVELS = np.arange(256, dtype=np.uint8)[None]


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
    scaled = np.multiply.outer(gains, np.arange(256.0))
    scaled[0] %= HUES
    tables: npt.NDArray[np.uint8] = np.minimum(scaled, 255).astype(np.uint8)
    return tables


def change_colours(rgb: Image, gains: Gains) -> None:
    """Apply the gains to an RGB image (H, W, 3), in place."""
    top, bottom = different_rows(rgb)
    starts = range(top, bottom, STRIP_ROWS)
    parts = [(start, min(start + STRIP_ROWS, bottom)) for start in starts]
    borders = [(start, end) for start, end in ((0, top), (bottom, len(rgb))) if start < end]
    changes = [_change_of_plane(*one) for one in zip(colour_tables(gains), gains, (HUES, 256, 256), strict=True)]
    width = rgb.shape[1]
    hsv_strip = np.empty((STRIP_ROWS, width, 3), np.uint8)
    plane_strips = np.empty((3, -(-STRIP_ROWS * width // LANES) * LANES), np.uint8)
    for start, end in [*parts, *((start, start + 1) for start, _ in borders)]:
        strip, hsv, num_pixels = rgb[start:end], hsv_strip[: end - start], (end - start) * width
        planes = [plane[:num_pixels].reshape(-1, width) for plane in plane_strips]
        cv2.cvtColor(strip, cv2.COLOR_RGB2HSV, dst=hsv)
        cv2.split(hsv, planes)
        for plane, change in zip(plane_strips, changes, strict=True):
            change(plane[None, : -(-num_pixels // LANES) * LANES])
        cv2.merge(planes, dst=hsv)
        cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=strip)
    for start, end in borders:
        rgb[start + 1 : end] = rgb[start]


def different_rows(rgb: Image) -> tuple[int, int]:
    """The first row and the one after the last that are not equal to all rows above, or below: a border is grey.

    >>> different_rows(np.array([7, 7, 7, 3, 5, 7, 7], np.uint8)[:, None, None].repeat(3, axis=2))
    (3, 5)
    """
    top = _num_equal(rgb)
    return top, max(top, len(rgb) - _num_equal(rgb[::-1]))


def _num_equal(rgb: Image) -> int:
    """How many rows, from the first on, are equal; 0 if that is the first alone, or if it is not plain to see."""
    if not (rgb[:2] == rgb[0]).all():
        return 0
    middle = rgb[:, rgb.shape[1] // 2, 0]
    is_other = middle != middle[0]
    count = int(is_other.argmax()) or len(rgb)
    return count if (rgb[:count] == rgb[0]).all() else 0


def _change_of_plane(table: npt.NDArray[np.uint8], gain: float, num_levels: int) -> Callable[[Image], object]:
    """Gives the bytes of a plane, a multiple of `LANES`, their levels in `table`; by multiplying, if that is exact."""
    scaled = cv2.convertScaleAbs(_LEVELS, alpha=gain, beta=ROUND_DOWN)[0]
    if np.array_equal(scaled[:num_levels], table[:num_levels]):
        return lambda plane: cv2.convertScaleAbs(plane, dst=plane, alpha=gain, beta=ROUND_DOWN)
    return lambda plane: cv2.LUT(plane, table, dst=plane)


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
