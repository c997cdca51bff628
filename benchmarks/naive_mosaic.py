"""The usual way to make a mosaic, as a baseline: decode four images in full, draw a large canvas, warp it once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from onelook.data.augment.colour import ColourChange, colour_tables
from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.augment.plan import AugmentPlan
from onelook.geometry.affine import mirror, scaling, translation
from onelook.geometry.letterbox import fitted_size
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex

Image = npt.NDArray[np.uint8]
GREY = (114, 114, 114)


def render_naively(plan: AugmentPlan, index: DatasetIndex, key: SampleKey, hyp: Hyperparameters) -> Image:
    """The same mosaic as `render_plan`, (3, S, S) uint8 RGB, contiguous."""
    side = plan.output_hw[0]
    flips = generator(key, Purpose.FLIP).random(2)
    left_right, up_down = bool(flips[0] < hyp.fliplr), bool(flips[1] < hyp.flipud)
    unflip = mirror(side, side, left_right=left_right, up_down=up_down)

    images = [_load(index.paths[tile.source], side) for tile in plan.tiles]
    heights_widths = [image.shape[:2] for image in images]
    windows = np.array([tile.window for tile in plan.tiles])
    sizes = np.array([(w, h) for h, w in heights_widths], float)
    spans = np.round((windows[:, 2:] - windows[:, :2]) * sizes).astype(int)
    centre = spans[[0, 2], 0].max(), spans[[0, 1], 1].max()  # keeps every tile on the canvas

    canvas = np.full((2 * side, 2 * side, 3), 114, np.uint8)
    for tile, (image, (span_x, span_y)) in enumerate(zip(images, spans.tolist(), strict=True)):
        height, width = image.shape[:2]
        x = centre[0] - span_x if tile in (0, 2) else centre[0]
        y = centre[1] - span_y if tile in (0, 1) else centre[1]
        left = width - span_x if tile in (0, 2) else 0
        top = height - span_y if tile in (0, 1) else 0
        canvas[y : y + span_y, x : x + span_x] = image[top : top + span_y, left : left + span_x]

    height, width = heights_widths[3]
    to_output = unflip @ plan.tiles[3].matrix @ scaling(1 / width, 1 / height) @ translation(-centre[0], -centre[1])
    indices = translation(-0.5, -0.5) @ to_output @ translation(0.5, 0.5)
    if indices[2, 0] or indices[2, 1]:
        output = cv2.warpPerspective(canvas, indices, (side, side), borderValue=GREY)
    else:
        output = cv2.warpAffine(canvas, indices[:2], (side, side), borderValue=GREY)
    for step in plan.steps:
        if isinstance(step, ColourChange):
            output = _colours(output, colour_tables(step.gains))
    if up_down:
        output = np.flipud(output)
    if left_right:
        output = np.fliplr(output)
    return np.ascontiguousarray(output.transpose(2, 0, 1)[::-1])


def _load(path: str, side: int) -> Image:
    bgr = cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    height, width = fitted_size(bgr.shape[:2], side)
    if bgr.shape[:2] != (height, width):
        bgr = cv2.resize(bgr, (width, height), interpolation=cv2.INTER_LINEAR)
    return bgr


def _colours(bgr: Image, tables: Image) -> Image:
    channels = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV))
    changed = [cv2.LUT(channel, table) for channel, table in zip(channels, tables, strict=True)]
    return cv2.cvtColor(cv2.merge(changed), cv2.COLOR_HSV2BGR)
