"""Statistics of a split: classes, image sizes, sizes and shapes of objects at the training size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onelook.structures.dataset_index import DatasetIndex
from onelook.training.autoanchor import Array, label_sizes_px

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
# COCO's limits of small and medium objects, and a cell of the finest usual feature map: sides, pixels.
SMALL_PX, MEDIUM_PX, CELL_PX = 32.0, 96.0, 8.0


@dataclass(frozen=True)
class SplitStatistics:
    """The statistics of a split.

    Attributes:
        images: usable images.
        backgrounds: images without objects.
        labels: objects.
        class_labels, class_images: objects, and images with any, by class.
        width_px, height_px: quantiles of the images' sizes.
        aspect: quantiles of width / height of the images.
        objects_per_image: quantiles.
        object_side_px: quantiles of the square root of an object's area at the training size.
        object_aspect: quantiles of width / height of the objects.
        shares: shares of the objects that are `small`, `medium` and `large` by COCO's limits at that size, and of those
            below a `cell`, which are small too.
    """

    images: int
    backgrounds: int
    labels: int
    class_labels: tuple[int, ...]
    class_images: tuple[int, ...]
    width_px: tuple[float, ...]
    height_px: tuple[float, ...]
    aspect: tuple[float, ...]
    objects_per_image: tuple[float, ...]
    object_side_px: tuple[float, ...]
    object_aspect: tuple[float, ...]
    shares: Mapping[str, float]


def statistics_of(index: DatasetIndex, *, num_classes: int, imgsz: int) -> SplitStatistics:
    """The statistics of a split at a longer side of `imgsz` pixels; quantiles of nothing are empty."""
    counts = np.diff(index.offsets)
    images = np.repeat(np.arange(len(index)), counts)
    pairs = np.unique(np.stack([images, index.class_ids]), axis=1)
    sizes_px = label_sizes_px(index, imgsz)
    side = np.sqrt(sizes_px.prod(axis=1))
    height, width = index.sizes_hw[:, 0].astype(float), index.sizes_hw[:, 1].astype(float)
    shares = {
        "cell": side < CELL_PX,
        "small": side < SMALL_PX,
        "medium": (side >= SMALL_PX) & (side < MEDIUM_PX),
        "large": side >= MEDIUM_PX,
    }
    return SplitStatistics(
        images=len(index),
        backgrounds=int((counts == 0).sum()),
        labels=len(index.class_ids),
        class_labels=_counts(index.class_ids, num_classes),
        class_images=_counts(pairs[1], num_classes),
        width_px=_quantiles(width),
        height_px=_quantiles(height),
        aspect=_quantiles(width / np.maximum(height, 1)),
        objects_per_image=_quantiles(counts),
        object_side_px=_quantiles(side),
        object_aspect=_quantiles(sizes_px[:, 0] / np.maximum(sizes_px[:, 1], 1e-9)),
        shares={name: float(is_so.mean()) if len(is_so) else 0.0 for name, is_so in shares.items()},
    )


def _quantiles(values: Array) -> tuple[float, ...]:
    return tuple(np.quantile(values, QUANTILES).round(4).tolist()) if len(values) else ()


def _counts(class_ids: Array, num_classes: int) -> tuple[int, ...]:
    counts: Sequence[int] = np.bincount(class_ids, minlength=num_classes).tolist()
    return tuple(counts)
