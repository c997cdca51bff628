"""Large images in parts: small objects are seen at full size, and those on borders of parts count once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onelook.data.augment.resize import BandAverage
from onelook.files.image_bands import BandedImage
from onelook.files.images import Image
from onelook.inference.backend import Thresholds
from onelook.inference.predictor import Predictor
from onelook.inference.sources.prefetch import batches_of
from onelook.structures.detections import Detections

Area = tuple[int, int, int, int]

CONTAINED = 0.5
"""Share of a part of an object that lies within the whole object, from which on the part is dropped."""
BORDER_SHARE = 0.01
"""A box that ends this near to the border of a tile, as a share of the tile's side, is taken to be cut by it."""


@dataclass(frozen=True)
class Tiling:
    """How an image is split into tiles.

    Attributes:
        side: side of a tile, pixels of the image.
        overlap: smallest share of the side that neighbours share. Objects up to that size are whole in one tile.
    """

    side: int
    overlap: float = 0.2


def tiles_of(size_hw: tuple[int, int], tiling: Tiling) -> list[Area]:
    """Left, top, right, bottom of the tiles that cover an image, pixels, row by row; spread evenly.

    >>> tiles_of((100, 250), Tiling(side=100, overlap=0.2))
    [(0, 0, 100, 100), (75, 0, 175, 100), (150, 0, 250, 100)]
    """
    height, width = size_hw
    return [
        (left, top, min(left + tiling.side, width), min(top + tiling.side, height))
        for top in _starts(height, tiling)
        for left in _starts(width, tiling)
    ]


def detect_in_tiles(
    predict: Callable[[Sequence[Image]], Sequence[Detections]],
    image: Image,
    tiling: Tiling,
    *,
    batch_size: int,
    thresholds: Thresholds,
) -> Detections:
    """The detections of an image, predicted as a whole, for large objects, and tile by tile, for small ones.

    Args:
        image: (H, W, 3) uint8 RGB; one that is no larger than a tile is predicted once.
        batch_size: largest number of images that `predict` gets at a time.
    """
    size_hw = (image.shape[0], image.shape[1])
    areas = tiles_of(size_hw, tiling)
    if len(areas) == 1:
        return predict([image])[0]
    views = [image, *(image[top:bottom, left:right] for left, top, right, bottom in areas)]
    found = [detections for batch in batches_of(views, batch_size) for detections in predict(batch)]
    return merged(found[0], list(zip(areas, found[1:], strict=True)), size_hw, tiling=tiling, thresholds=thresholds)


def detect_in_bands(predictor: Predictor, image: BandedImage, tiling: Tiling, *, batch_size: int) -> Detections:
    """As `detect_in_tiles`, of an image of which no more is decoded at a time than a row of tiles and a band.

    Raises:
        DataError: see `BandedImage.bands`.
    """
    areas = tiles_of(image.size_hw, tiling)
    average = BandAverage(image.size_hw, predictor.averaged_hw(image.size_hw))
    views = _views(image.bands(), areas if len(areas) > 1 else [], average)
    found = [detections for batch in batches_of(views, batch_size) for detections in predictor.predict(batch)]
    whole = predictor.predict_averaged(average.pixels(), image.size_hw)
    parts = list(zip(areas, found, strict=True)) if found else []
    return merged(whole, parts, image.size_hw, tiling=tiling, thresholds=predictor.settings) if parts else whole


def _views(bands: Iterator[Image], areas: Sequence[Area], average: BandAverage) -> Iterator[Image]:
    """The tiles of an image whose bands come from top to bottom, and go into `average` on the way."""
    rows, first = np.zeros((0, average.width, 3), np.uint8), 0
    for left, top, right, bottom in areas:
        parts, last = [rows[max(0, top - first) :]], first + len(rows)
        if last < bottom:
            first = last - len(parts[0])
            while last < bottom:
                parts.append(next(bands))
                average.add(parts[-1])
                last += len(parts[-1])
            rows = np.concatenate(parts)
        yield rows[top - first : bottom - first, left:right]
    for band in bands:
        average.add(band)


def merged(
    whole: Detections,
    parts: Sequence[tuple[Area, Detections]],
    size_hw: tuple[int, int],
    *,
    tiling: Tiling,
    thresholds: Thresholds,
) -> Detections:
    """One set of detections, highest score first, of those in an image and in its tiles.

    A detection is doubtful if the border of a tile cuts it, or if it is from the image as a whole and so small that
    some tile shows it better. The doubtful ones come last, whatever their scores, and are dropped for any detection
    that they overlap or mostly lie in; the others for better ones that they overlap, as usual.

    Args:
        whole: detections in the image as a whole.
        parts: tiles and what was found there, pixels of the tile.
        size_hw: height and width of the image, pixels.
    """
    boxes = np.concatenate([whole.boxes, *(found.boxes + np.array(area[:2] * 2, np.float32) for area, found in parts)])
    scores = np.concatenate([whole.scores, *(found.scores for _, found in parts)])
    class_ids = np.concatenate([whole.class_ids, *(found.class_ids for _, found in parts)])
    is_small = (whole.boxes[:, 2:] - whole.boxes[:, :2]).max(axis=1, initial=0) <= tiling.side * tiling.overlap
    doubtful = np.concatenate([is_small, *(_is_cut(area, found.boxes, size_hw) for area, found in parts)])
    order = np.lexsort((-scores, doubtful))
    kept = order[
        _survivors(
            boxes[order].astype(np.float64),
            np.zeros_like(class_ids) if thresholds.agnostic_nms else class_ids[order],
            doubtful[order],
            iou_thres=thresholds.iou_thres,
        )
    ]
    kept = kept[np.argsort(-scores[kept], kind="stable")][: thresholds.max_det]
    return Detections(boxes[kept], scores[kept], class_ids[kept])


def _starts(length: int, tiling: Tiling) -> list[int]:
    """Where the tiles begin along a side of that length."""
    if length <= tiling.side:
        return [0]
    step = max(1, int(tiling.side * (1 - tiling.overlap)))
    gaps = -(-(length - tiling.side) // step)
    return [(length - tiling.side) * number // gaps for number in range(gaps + 1)]


def _is_cut(area: Area, boxes: npt.NDArray[np.float32], size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(N,) which of the (N, 4) boxes in a tile end at one of its borders that is none of the image."""
    left, top, right, bottom = area
    height, width = size_hw
    near = max(2.0, BORDER_SHARE * max(right - left, bottom - top))
    cut = np.zeros(len(boxes), bool)
    cut |= (left > 0) & (boxes[:, 0] < near)
    cut |= (top > 0) & (boxes[:, 1] < near)
    cut |= (right < width) & (boxes[:, 2] > right - left - near)
    cut |= (bottom < height) & (boxes[:, 3] > bottom - top - near)
    return cut


def _survivors(
    boxes: npt.NDArray[np.float64],
    class_ids: npt.NDArray[np.int64],
    doubtful: npt.NDArray[np.bool_],
    *,
    iou_thres: float,
) -> npt.NDArray[np.int64]:
    """Positions of the boxes that are kept, out of (N, 4) in the order of their rank."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    survivors = [np.zeros(0, np.int64)]
    for class_id in np.unique(class_ids):
        rows = np.flatnonzero(class_ids == class_id)
        kept, count = np.empty_like(rows), 0
        for row in rows:
            rivals = kept[:count]
            overlap = np.minimum(boxes[rivals, 2:], boxes[row, 2:]) - np.maximum(boxes[rivals, :2], boxes[row, :2])
            shared = np.prod(overlap.clip(0), axis=1)
            is_dropped = (shared > iou_thres * (areas[rivals] + areas[row] - shared)).any()
            if doubtful[row]:
                is_dropped |= (shared > CONTAINED * areas[row]).any()
            if not is_dropped:
                kept[count], count = row, count + 1
        survivors.append(kept[:count])
    return np.concatenate(survivors)
