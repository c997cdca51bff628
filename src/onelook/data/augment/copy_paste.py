"""Pasting objects with polygons, mirrored, into the same image.

After G. Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method", 2021. We paste within one image
and mirror it about its own middle, before it becomes part of a mosaic: an object stays in its own scene and scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from onelook.data.augment.draft import Draft, Stream
from onelook.data.augment.plan import Image, TileLabels
from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.structures.dataset_index import DatasetIndex

MAX_COVERED = 0.3  # of any label that is there already


def draw(draft: Draft, stream: Stream) -> None:
    """For every image the objects that are pasted, a fraction `copy_paste` of those with a polygon."""
    fraction = draft.hyperparameters.copy_paste
    if not fraction:
        return
    for layer, canvas in enumerate(draft.canvases):
        rng = stream(layer)
        pasted = [draw_pastes(rng, draft.numbers.index, source, fraction) for source in canvas.sources]
        draft.canvases[layer] = replace(canvas, changes=tuple((Paste(own),) if own else () for own in pasted))


@dataclass(frozen=True)
class Paste:
    """Mirrored copies in an image of the labels with polygons whose numbers are `copied`."""

    copied: tuple[int, ...]

    def pixels(self, image: Image, index: DatasetIndex) -> Image:
        """See `TileChange`."""
        height, width = image.shape[:2]
        mask = np.zeros((height, width), np.uint8)
        for label in self.copied:
            polygon = index.polygon_of(label)
            if polygon is not None:
                # sixteenths of a pixel, counted from pixel centres
                points = np.round((polygon * (width, height) - 0.5) * 16).astype(np.int32)
                cv2.fillPoly(mask, [points], 1, shift=4)
        result: Image = image.copy()
        cv2.copyTo(cv2.flip(image, 1), cv2.flip(mask, 1), dst=result)
        return result

    def labels(self, labels: TileLabels, index: DatasetIndex) -> TileLabels:
        """See `TileChange`: a copy has the class of its original."""
        rows = np.array(self.copied, np.int64)
        num_points = index.polygon_offsets[rows + 1] - index.polygon_offsets[rows]
        starts, ends = index.polygon_offsets[rows].tolist(), index.polygon_offsets[rows + 1].tolist()
        copies = (index.polygon_points[start:end] for start, end in zip(starts, ends, strict=True))
        points = np.concatenate([labels.points, *copies])
        points[len(labels.points) :, 0] = 1 - points[len(labels.points) :, 0]
        return TileLabels(
            boxes=np.concatenate([labels.boxes, mirrored(cxcywh_to_xyxy(index.boxes[rows].astype(np.float64)))]),
            class_ids=np.concatenate([labels.class_ids, index.class_ids[rows]]),
            num_points=np.concatenate([labels.num_points, num_points]),
            points=points,
        )


def draw_pastes(rng: np.random.Generator, index: DatasetIndex, image: int, fraction: float) -> tuple[int, ...]:
    """Label numbers of `image` whose mirrored copies are pasted: a fraction of those with a polygon, where they fit.

    A copy fits if it covers less than 0.3 of every label, the copies before it included.
    """
    rows = index.labels_of(image)
    points_per_label = np.diff(index.polygon_offsets[rows.start : rows.stop + 1])
    with_polygon = rows.start + np.flatnonzero(points_per_label)
    wanted = rng.permutation(with_polygon)[: round(fraction * len(with_polygon))]
    boxes = cxcywh_to_xyxy(index.boxes[rows].astype(np.float64))
    copies = mirrored(boxes).tolist()
    accepted: list[int] = []
    present, count = np.empty((4, len(boxes) + len(wanted))), len(boxes)  # coordinate by coordinate, which is faster
    present[:, :count] = boxes.T
    for label in wanted.tolist():
        copy = copies[label - rows.start]
        if (_covered_fractions(present[:, :count], copy) < MAX_COVERED).all():
            accepted.append(label)
            present[:, count] = copy
            count += 1
    return tuple(accepted)


def mirrored(boxes_xyxy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Boxes (..., 4) as fractions of an image, mirrored left to right."""
    result: npt.NDArray[np.float64] = boxes_xyxy[..., [2, 1, 0, 3]] * (-1, 1, -1, 1) + (1, 0, 1, 0)
    return result


def _covered_fractions(boxes: npt.NDArray[np.float64], cover: Sequence[float]) -> npt.NDArray[np.float64]:
    """How much of each of the boxes, (4, N) x1, y1, x2, y2, lies under `cover`, xyxy: (N,) 0 to 1."""
    left, top, right, bottom = boxes
    width = np.maximum(np.minimum(right, cover[2]) - np.maximum(left, cover[0]), 0)
    height = np.maximum(np.minimum(bottom, cover[3]) - np.maximum(top, cover[1]), 0)
    return np.asarray(width * height / np.maximum((right - left) * (bottom - top), 1e-16), np.float64)
