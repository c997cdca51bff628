"""Mosaics of images with boxes: training batches, and validation labels beside detections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from onelook.drawing.boxes import draw_detections
from onelook.drawing.lettering import paste_patch, shortened, text_patch
from onelook.drawing.palette import BLACK, WHITE
from onelook.errors import counted
from onelook.files.atomic import write_bytes_atomic
from onelook.files.images import Image
from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.structures.batch import Batch
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels

MOSAIC_WIDTH_PX = 1920
CAPTION_PX = 22
GUTTER_PX = 8
MIN_CELL_PX = 320
MAX_IMAGES = 16
CONF_THRES = 0.25
MAX_PAIRS = 8
MAX_ASPECT = 2.0
JPEG_QUALITY = 92


def plot_batch(batch: Batch, names: Sequence[str], path: Path) -> Path:
    """Write the first images of a batch, as the model gets them, with their boxes, class names and file names."""
    images = batch.images[:MAX_IMAGES].permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, 3)
    image_index = batch.targets.image_index.cpu().numpy()
    class_ids = batch.targets.class_ids.cpu().numpy()
    boxes_norm = batch.targets.boxes.cpu().numpy()
    num_columns = max(1, math.ceil(math.sqrt(len(images))))
    cell_px = (MOSAIC_WIDTH_PX - GUTTER_PX) // num_columns - GUTTER_PX
    cells = []
    for number, image in enumerate(images):
        view = _resized(image, cell_px, cell_px)
        own = image_index == number
        height, width = view.shape[:2]
        boxes = cxcywh_to_xyxy(boxes_norm[own]) * np.array([width, height, width, height], np.float32)
        drawn = draw_detections(view, boxes, class_ids[own], None, names)
        info = batch.infos[number]
        others = f" and {info.num_images - 1} more" if info.num_images > 1 else ""
        cells.append(_captioned(drawn, Path(info.path).name + others))
    write_image(path, _grid(cells, num_columns))
    return path


def plot_labels_and_predictions(
    images: Sequence[Image],
    labels: Sequence[ImageLabels],
    detections: Sequence[Detections],
    names: Sequence[str],
    path: Path,
    *,
    files: Sequence[str],
) -> Path:
    """Write up to 8 validation images twice, side by side: with their labels, and with their detections.

    Args:
        images: (H, W, 3) uint8 RGB each, at any size.
        labels: labels in pixels of the original image; one per image.
        detections: boxes in pixels of the original image; one per image.
        files: names of the images, for their captions.
    """
    shown = list(zip(images, labels, detections, files, strict=True))[:MAX_PAIRS]
    pairs_per_row = 1 if len(shown) == 1 else 2
    cell_px = (MOSAIC_WIDTH_PX - GUTTER_PX) // (2 * pairs_per_row) - 2 * GUTTER_PX
    aspect = max((image.shape[0] / image.shape[1] for image, *_ in shown), default=1.0)
    cell_height = round(cell_px * min(aspect, MAX_ASPECT))
    cells = []
    for image, own, found, file in shown:
        view = _resized(image, cell_px, cell_height)
        scale = view.shape[1] / image.shape[1], view.shape[0] / image.shape[0]
        gain = np.array([*scale, *scale])
        kept = found.scores > CONF_THRES
        left = draw_detections(view, own.boxes * gain, own.class_ids, None, names)
        right = draw_detections(view, found.boxes[kept] * gain, found.class_ids[kept], found.scores[kept], names)
        left = _captioned(left, f"{file}: {counted(len(own.class_ids), 'label')}")
        right = _captioned(right, f"{counted(int(kept.sum()), 'box')} above {CONF_THRES:g}")
        gap = np.full((left.shape[0], GUTTER_PX, 3), WHITE, np.uint8)
        cells.append(np.concatenate([left, gap, right], axis=1))
    write_image(path, _grid(cells, pairs_per_row))
    return path


def write_image(path: Path, image_rgb: Image) -> None:
    """Write (H, W, 3) RGB whole or not at all; JPEG without colour subsampling, which would blur coloured lines."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    is_jpeg = path.suffix.lower() in {".jpg", ".jpeg"}
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), options if is_jpeg else [])
    write_bytes_atomic(path, data.tobytes())


def _resized(image: Image, max_width: int, max_height: int) -> Image:
    """`image` fitted into a cell; small images are enlarged only until labels are readable."""
    height, width = image.shape[:2]
    scale = min(max_width / width, max_height / height, max(1.0, MIN_CELL_PX / max(height, width)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=method).astype(np.uint8, copy=False)


def _captioned(image: Image, caption: str) -> Image:
    """`image` under a white strip with one line of text, shortened until it fits."""
    limit = len(caption)
    patch = text_patch([caption], CAPTION_PX, ink=BLACK, paper=WHITE)
    while patch.shape[1] > image.shape[1] and limit > 8:
        limit -= 1
        patch = text_patch([shortened(caption, limit)], CAPTION_PX, ink=BLACK, paper=WHITE)
    strip = np.full((patch.shape[0], image.shape[1], 3), WHITE, np.uint8)
    paste_patch(strip, patch, left=0, top=0)
    return np.concatenate([strip, image])


def _grid(cells: Sequence[Image], num_columns: int) -> Image:
    """Cells row by row on white; a row is as high as its highest cell, all columns are as wide as the widest cell."""
    width = max((cell.shape[1] for cell in cells), default=1)
    rows: list[npt.NDArray[Any]] = []
    for start in range(0, len(cells), num_columns):
        row = cells[start : start + num_columns]
        height = max(cell.shape[0] for cell in row)
        canvas = np.full((height + GUTTER_PX, num_columns * (width + 2 * GUTTER_PX), 3), WHITE, np.uint8)
        for column, cell in enumerate(row):
            left = column * (width + 2 * GUTTER_PX) + GUTTER_PX
            canvas[: cell.shape[0], left : left + cell.shape[1]] = cell
        rows.append(canvas)
    margin = np.full((GUTTER_PX, num_columns * (width + 2 * GUTTER_PX), 3), WHITE, np.uint8)
    return np.concatenate([margin, *rows])
