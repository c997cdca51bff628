"""What a renderer on a device needs for a training image: numbers and row spans of its tiles, and their pixels.

Made by the loader processes with the decisions of `render_cpu`: which tile covers which pixel, what is halved first,
and which tiles are resized rather than warped. So a device has nothing left to decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from onelook.data.augment.axis_aligned import pixel_runs
from onelook.data.augment.plan import AugmentPlan, Image, Tile
from onelook.data.augment.region import row_spans, visible_part
from onelook.data.augment.render_cpu import ImageSource, pixels_before, to_source
from onelook.geometry.affine import Matrix, is_axis_aligned, scaling, transform_points
from onelook.structures.dataset_index import DatasetIndex

NUM_FIELDS = 14
CROP_MARGIN_PX = 2  # two pixels count for each, and positions are rounded


class Kind(IntEnum):
    """How the pixels of a tile are made."""

    ABSENT = 0
    RESIZED = 1
    WARPED = 2


class Field(IntEnum):
    """Numbers of a tile; those from ACROSS and DOWN on are for resized ones, those from INVERSE on for warped ones."""

    KIND = 0
    START = 1  # where pixel (0, 0) of the image lies, or would lie, in the pixels that go with the tiles
    STRIDE = 2  # pixels from one row to the next
    WIDTH = 3
    HEIGHT = 4
    ACROSS = 5  # edge pixel, direction, image pixels per output pixel, whether the image is mirrored
    DOWN = 9
    INVERSE = 5  # nine numbers, row by row


@dataclass(frozen=True)
class StoredImage:
    """An image that is drawn from.

    Attributes:
        size_hw: height and width, pixels.
        start, stride: see `Field`.
    """

    size_hw: tuple[int, int]
    start: int
    stride: int


class PixelLocations(Protocol):
    """Where the pixels of tiles are stored."""

    def locate(self, tile: Tile, region: npt.NDArray[np.float64]) -> StoredImage:
        """The image of a tile, halved as it has to be; `region` is what is seen of it, (V, 2) output pixels."""


@dataclass(frozen=True)
class SentPixels:
    """Images go with the tiles: halved, changed, and only the part that is seen.

    Attributes:
        parts: (H, W, 3) what is sent, in the order of the tiles; filled here.
    """

    index: DatasetIndex
    source: ImageSource
    parts: list[Image] = field(default_factory=list)

    def locate(self, tile: Tile, region: npt.NDArray[np.float64]) -> StoredImage:
        """See `PixelLocations`; DataError if an image file has vanished or changed since the scan."""
        image = pixels_before(tile, self.index, self.source)
        height, width = image.shape[:2]
        back = np.asarray(np.linalg.inv(tile.matrix @ scaling(1 / width, 1 / height)), np.float64)
        corners = transform_points(back, region)
        left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - CROP_MARGIN_PX, 0).tolist()
        right, bottom = np.ceil(corners.max(axis=0)).astype(int).tolist()
        part = image[top : bottom + CROP_MARGIN_PX, left : right + CROP_MARGIN_PX]
        start = sum(sent.shape[0] * sent.shape[1] for sent in self.parts)
        self.parts.append(part)
        return StoredImage((height, width), start - top * part.shape[1] - left, part.shape[1])


class TileTable(NamedTuple):
    """The T tiles of one layer of an image.

    Attributes:
        fields: (T, NUM_FIELDS) float64, see `Field`.
        spans: (T, 2, H) int16 first pixel of the tile in each output row, and that after the last.
    """

    fields: npt.NDArray[np.float64]
    spans: npt.NDArray[np.int16]


def layers_of(plan: AugmentPlan, locations: PixelLocations) -> list[TileTable]:
    """The tables of one image: of its mosaic, and of that which is blended in, if there is one.

    Raises:
        DataError: an image file has vanished or changed since the scan.
    """
    return [
        _table(tiles, locations, plan.output_hw) for tiles in (plan.tiles, plan.partner)[: 2 if plan.partner else 1]
    ]


def _table(tiles: Sequence[Tile], locations: PixelLocations, output_hw: tuple[int, int]) -> TileTable:
    table = TileTable(np.zeros((len(tiles), NUM_FIELDS)), np.zeros((len(tiles), 2, output_hw[0]), np.int16))
    for tile, fields, spans in zip(tiles, *table, strict=True):
        part = visible_part(tile, output_hw)
        if part is None:
            continue
        region, box = part
        image = locations.locate(tile, region)
        to_output = tile.matrix @ scaling(1 / image.size_hw[1], 1 / image.size_hw[0])
        is_aligned = is_axis_aligned(tile.matrix)
        rows = spans[:, box[1] : box[3]]
        rows[0], rows[1] = (box[0], box[2]) if is_aligned else row_spans(region, box)
        _fill(fields, image, to_output, box=box, is_aligned=is_aligned)
    return table


def _fill(
    row: npt.NDArray[np.float64],
    image: StoredImage,
    to_output: Matrix,
    *,
    box: tuple[int, int, int, int],
    is_aligned: bool,
) -> None:
    """Write the fields of one tile."""
    runs = pixel_runs(image.size_hw, to_output, box=box) if is_aligned else None
    row[: Field.ACROSS] = (
        Kind.WARPED if runs is None else Kind.RESIZED, image.start, image.stride, image.size_hw[1], image.size_hw[0],
    )  # fmt: skip
    if runs is None:
        row[Field.INVERSE :] = to_source(to_output).reshape(-1)
        return
    for first, run in zip((Field.ACROSS, Field.DOWN), runs, strict=True):
        row[first : first + 4] = (run.edge, -1 if run.to_end else 1, 1 / run.gain, run.from_end)
