"""Batches of images of similar shape, with the smallest frame that holds each batch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from onelook.data.even_batches import batch_bounds

SLACK = 1e-6  # of a stride: keeps rounding errors from adding a whole one


@dataclass(frozen=True)
class Rectangles:
    """Fixed batches of N images, and the frame of each batch.

    Attributes:
        order: (N,) int64 image numbers; batch b is order[starts[b] : starts[b + 1]].
        starts: (B + 1,) int64 where the batches begin, and where the last one ends.
        frames_hw: (B, 2) int64 height and width of the frame of each batch, pixels.
        batch_size: largest number of images in a batch.
        batch_of: (N,) int64 the batch that each image number belongs to.
    """

    order: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    frames_hw: npt.NDArray[np.int64]
    batch_size: int
    batch_of: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frames_hw)

    def batch(self, number: int) -> list[int]:
        """Image numbers of batch `number`."""
        result: list[int] = self.order[self.starts[number] : self.starts[number + 1]].tolist()
        return result

    def common_shapes(self, most: int) -> list[tuple[int, int, int]]:
        """The `most` commonest images, height, width (pixels) of batches; of equally common ones the first."""
        sizes = np.column_stack([np.diff(self.starts), self.frames_hw]).tolist()
        return [shape for shape, _ in Counter(map(tuple, sizes)).most_common(most)]

    def frame_of(self, image: int) -> tuple[int, int]:
        """Height and width of the frame that image number `image` is put into, pixels."""
        height, width = self.frames_hw[self.batch_of[image]].tolist()
        return height, width


def similar_shapes(
    sizes_hw: npt.NDArray[np.int32], *, imgsz: int, batch_size: int, stride: int = 32, pad: float = 0.0
) -> Rectangles:
    """Batches in ascending order of height / width, each with the smallest frame for images with longer side `imgsz`.

    Args:
        sizes_hw: (N, 2) height and width of the images, pixels.
        stride: frames are multiples of this, pixels.
        pad: strides added before rounding up; 0.5 is usual in validation and makes 640 a 672.
    """
    aspects = sizes_hw[:, 0] / sizes_hw[:, 1]
    order = np.argsort(aspects, kind="stable").astype(np.int64)
    bounds = batch_bounds(len(order), -(-len(order) // batch_size))
    starts, ends = bounds[:-1], np.array(bounds[1:], np.int64)
    lowest, highest = aspects[order[starts]], aspects[order[ends - 1]]
    frames = [
        frame_for_aspects(low, high, imgsz=imgsz, stride=stride, pad=pad)
        for low, high in zip(lowest.tolist(), highest.tolist(), strict=True)
    ]
    return _rectangles(order, np.array(frames, np.int64).reshape(-1, 2), batch_size, starts)


def own_frames(
    sizes_hw: npt.NDArray[np.int32], *, imgsz: int, batch_size: int, stride: int = 32, pad: float = 0.5
) -> Rectangles:
    """Batches of images that have one frame, the smallest for each alone: what an image looks like, and so what is
    found in it, does not depend on the size of the batches or on the other images.

    Args:
        sizes_hw, imgsz, stride, pad: see `similar_shapes`.
        batch_size: number of images in a batch; the last batch of each frame may have fewer.
    """
    aspects = (sizes_hw[:, 0] / sizes_hw[:, 1]).tolist()
    frames = [frame_for_aspects(aspect, aspect, imgsz=imgsz, stride=stride, pad=pad) for aspect in aspects]
    return _by_frame(np.array(frames, np.int64).reshape(-1, 2), batch_size)


def equal_frames(num_images: int, *, frame_hw: tuple[int, int], batch_size: int) -> Rectangles:
    """Batches in the order of the dataset, all with a frame of `frame_hw` pixels, height and width."""
    return _by_frame(np.tile(np.array(frame_hw, np.int64), (num_images, 1)), batch_size)


def frame_for_aspects(lowest: float, highest: float, *, imgsz: int, stride: int, pad: float) -> tuple[int, int]:
    """Height and width of the smallest frame for images whose height / width lies in [lowest, highest].

    >>> frame_for_aspects(0.7, 0.75, imgsz=640, stride=32, pad=0)
    (480, 640)
    >>> frame_for_aspects(0.7, 0.75, imgsz=640, stride=32, pad=0.5)
    (512, 672)
    """
    height, width = (highest, 1.0) if highest < 1 else (1.0, 1 / lowest) if lowest > 1 else (1.0, 1.0)
    return tuple(stride * max(1, math.ceil(side * imgsz / stride + pad - SLACK)) for side in (height, width))  # type: ignore[return-value]


def _by_frame(frames_hw: npt.NDArray[np.int64], batch_size: int) -> Rectangles:
    """Batches of images with the same frame, from the frame of each image, (N, 2)."""
    order = np.lexsort((frames_hw[:, 1], frames_hw[:, 0])).astype(np.int64)
    ordered = frames_hw[order]
    first_of_frame = np.flatnonzero((np.diff(ordered, axis=0, prepend=np.zeros((1, 2), np.int64)) != 0).any(axis=1))
    bounds = [*first_of_frame.tolist(), len(order)]
    starts = [start for first, end in pairwise(bounds) for start in range(first, end, batch_size)]
    return _rectangles(order, ordered[np.array(starts, np.int64)], batch_size, starts)


def _rectangles(
    order: npt.NDArray[np.int64], frames_hw: npt.NDArray[np.int64], batch_size: int, starts: Sequence[int]
) -> Rectangles:
    bounds = np.array([*starts, len(order)], np.int64)
    batch_of = np.empty(len(order), np.int64)
    batch_of[order] = np.repeat(np.arange(len(starts)), np.diff(bounds))
    return Rectangles(order, bounds, frames_hw, batch_size, batch_of)
