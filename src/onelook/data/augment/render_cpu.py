"""Making the pixels of a plan with OpenCV: each tile is warped straight into its part of the output.

Bilinear, from images whose longer side is at most the output's; a tile that comes out at less than half of that is
halved by averaging first, so that small images are not grainy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from onelook.data.augment.axis_aligned import draw_axis_aligned
from onelook.data.augment.plan import AugmentPlan, Image, Tile
from onelook.data.augment.region import pixel_mask, visible_part
from onelook.data.augment.resize import FILL, halved, num_halvings
from onelook.geometry.affine import Matrix, is_axis_aligned, scaling, translation
from onelook.structures.dataset_index import DatasetIndex


class ImageSource(Protocol):
    """Where the pixels of the dataset come from."""

    def image(self, number: int) -> Image:
        """(H, W, 3) uint8 RGB, longer side at most the output's; not to be written to."""


def render_plan(plan: AugmentPlan, index: DatasetIndex, source: ImageSource, target: Image | None = None) -> Image:
    """The image of a plan before its steps, (H, W, 3) uint8 RGB; that is `target`, if given, which is written to.

    Raises:
        DataError: an image file has vanished or changed since the scan.
    """
    output = np.empty((*plan.output_hw, 3), np.uint8) if target is None else target
    _render_tiles(plan.tiles, index, source, output)
    if plan.partner:
        partner = np.empty_like(output)
        _render_tiles(plan.partner, index, source, partner)
        cv2.addWeighted(output, plan.partner_ratio, partner, 1 - plan.partner_ratio, 0.0, dst=output)
    return output


def pixels_before(tile: Tile, index: DatasetIndex, source: ImageSource) -> Image:
    """The image of a tile before it is put into its place, (H, W, 3) uint8 RGB: changed, and halved as it has to be."""
    image = source.image(tile.source)
    for change in tile.changes:
        image = change.pixels(image, index)
    return halved(image, num_halvings(image.shape, tile.extent_wh))


def _render_tiles(tiles: Sequence[Tile], index: DatasetIndex, source: ImageSource, output: Image) -> None:
    """Fill `output` with the tiles, and grey where there is none."""
    output_hw = (output.shape[0], output.shape[1])
    output.fill(FILL)
    for tile in tiles:
        part_seen = visible_part(tile, output_hw)
        if part_seen is None:
            continue
        region, box = part_seen
        image = pixels_before(tile, index, source)
        to_output = tile.matrix @ scaling(1 / image.shape[1], 1 / image.shape[0])
        part = output[box[1] : box[3], box[0] : box[2]]
        if not is_axis_aligned(tile.matrix):
            warped = np.empty_like(part, order="C")
            _warp(image, to_output, box=box, target=warped)
            cv2.copyTo(warped, pixel_mask(region, box), dst=part)
        elif not draw_axis_aligned(image, to_output, box=box, target=part):
            _warp(image, to_output, box=box, target=part)


def to_source(to_output: Matrix, origin_xy: tuple[int, int] = (0, 0)) -> Matrix:
    """The way back: from output pixels, from `origin_xy` on, to image pixels; from centre to centre, as in OpenCV."""
    x, y = origin_xy
    matrix: Matrix = translation(-0.5, -0.5) @ np.linalg.inv(to_output) @ translation(x + 0.5, y + 0.5)
    return matrix


def _warp(image: Image, to_output: Matrix, *, box: tuple[int, int, int, int], target: Image) -> None:
    """Fill `target`, the output pixels of `box`, with the image that `to_output` moves; edge pixels are repeated."""
    inverse = to_source(to_output, box[:2])
    size, flags = (target.shape[1], target.shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if to_output[2, 0] or to_output[2, 1]:
        cv2.warpPerspective(image, inverse, size, dst=target, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    else:
        cv2.warpAffine(image, inverse[:2], size, dst=target, flags=flags, borderMode=cv2.BORDER_REPLICATE)
