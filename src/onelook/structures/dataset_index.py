"""All usable images of a split with their labels, packed in a few arrays so that loader processes share the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.files.image_headers import MAX_PIXELS
from onelook.structures.sample import ImageLabels


@dataclass(frozen=True)
class DatasetIndex:
    """N images with M labels in total, in a fixed order (that of their paths, or of the rows of a file).

    Attributes:
        paths: (N,) image files, as text; of a scan, packed in arrays too.
        sizes_hw: (N, 2) int32 height and width after EXIF rotation, pixels.
        offsets: (N + 1,) int64; the labels of image i are rows offsets[i] to offsets[i + 1].
        class_ids: (M,) int64.
        boxes: (M, 4) float32 cxcywh, as a fraction of the image's width and height.
        polygon_offsets: (M + 1,) int64; the polygon of label j is points polygon_offsets[j] to polygon_offsets[j + 1];
            no points means a plain box.
        polygon_points: (P, 2) float32 x, y, as a fraction of the image's width and height.
        fingerprint: hex digest of paths, sizes and labels; equal for equal content.
        max_pixels: the limit under which the images were found usable.
    """

    paths: Sequence[str]
    sizes_hw: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    class_ids: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    polygon_offsets: npt.NDArray[np.int64]
    polygon_points: npt.NDArray[np.float32]
    fingerprint: str
    max_pixels: int = MAX_PIXELS

    def __len__(self) -> int:
        return len(self.paths)

    def size_of(self, image: int) -> tuple[int, int]:
        """Height and width of image number `image` after EXIF rotation, pixels."""
        height, width = self.sizes_hw[image].tolist()
        return height, width

    def labels_of(self, image: int) -> slice:
        """Rows of `class_ids` and `boxes` that belong to image number `image`."""
        return slice(int(self.offsets[image]), int(self.offsets[image + 1]))

    def polygon_of(self, label: int) -> npt.NDArray[np.float32] | None:
        """Polygon of label number `label`, (P, 2) as a fraction of the image; None for a plain box."""
        start, stop = int(self.polygon_offsets[label]), int(self.polygon_offsets[label + 1])
        return self.polygon_points[start:stop] if stop > start else None

    def image_labels(self, image: int) -> ImageLabels:
        """Labels of image number `image` in pixels of the original image, float64, exact to the label file."""
        rows = self.labels_of(image)
        height, width = self.size_of(image)
        boxes = self.boxes[rows].astype(np.float64) * np.array([width, height, width, height], np.float64)
        half = boxes[:, 2:4] / 2
        corners: npt.NDArray[Any] = np.concatenate([boxes[:, 0:2] - half, boxes[:, 0:2] + half], axis=1)
        return ImageLabels(boxes=corners, class_ids=self.class_ids[rows])
