"""Small datasets made of numbers, with or without real image files; helpers of the tests beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from onelook.structures.dataset_index import DatasetIndex

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ArrayImages:
    """Images that are already in memory."""

    arrays: Sequence[Image]

    def image(self, number: int) -> Image:
        return self.arrays[number]


def make_index(
    sizes_hw: Sequence[tuple[int, int]],
    labels: Sequence[Sequence[tuple[float, ...]]] | None = None,
    *,
    paths: Sequence[str] | None = None,
    polygons: dict[int, Any] | None = None,
) -> DatasetIndex:
    """Labels are (class, cx, cy, w, h) per image; polygons maps a label number to its (P, 2) points."""
    labels = labels if labels is not None else [[] for _ in sizes_hw]
    flat = [label for image in labels for label in image]
    drawn_polygons = [
        np.array((polygons or {}).get(n, np.zeros((0, 2))), np.float32).reshape(-1, 2) for n in range(len(flat))
    ]
    return DatasetIndex(
        paths=tuple(paths or (f"{number}.jpg" for number in range(len(sizes_hw)))),
        sizes_hw=np.array(sizes_hw, np.int32),
        offsets=np.cumsum([0, *(len(image) for image in labels)], dtype=np.int64),
        class_ids=np.array([label[0] for label in flat], np.int64),
        boxes=np.array([label[1:] for label in flat], np.float32).reshape(-1, 4),
        polygon_offsets=np.cumsum([0, *(len(polygon) for polygon in drawn_polygons)], dtype=np.int64),
        polygon_points=np.concatenate([*drawn_polygons, np.zeros((0, 2), np.float32)]),
        fingerprint="made",
    )


def smooth_image(height: int, width: int, seed: int) -> Image:
    """A colourful image without sharp edges."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def write_jpegs(folder: Path, sizes_hw: Sequence[tuple[int, int]]) -> DatasetIndex:
    """A dataset of JPEGs; image i has i % 3 labels."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (height, width) in enumerate(sizes_hw):
        path = folder / f"{number:03d}.jpg"
        cv2.imwrite(str(path), smooth_image(height, width, number))
        paths.append(str(path))
    labels = [[(k, 0.3 + 0.2 * k, 0.5, 0.3, 0.4) for k in range(number % 3)] for number in range(len(sizes_hw))]
    return make_index(sizes_hw, labels, paths=paths)
