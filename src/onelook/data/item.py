"""One image of a batch with its labels, and how such items become a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from onelook.geometry.boxes import xyxy_to_cxcywh
from onelook.structures.batch import Batch, ImageInfo, Targets


class Item(NamedTuple):
    """One image of a batch.

    Attributes:
        image: (3, H, W) uint8 RGB, contiguous.
        boxes_cxcywh_norm: (N, 4) float32, as a fraction of the width and height of `image`; inside it, not empty.
        class_ids: (N,) int64.
        info: where it came from.
    """

    image: Tensor
    boxes_cxcywh_norm: Tensor
    class_ids: Tensor
    info: ImageInfo


def make_item(
    rgb: npt.NDArray[np.uint8],
    boxes_xyxy: npt.NDArray[Any],
    class_ids: npt.NDArray[np.int64],
    info: ImageInfo,
    planes: Tensor | None = None,
) -> Item:
    """An item from an RGB image (H, W, 3), boxes (N, 4) xyxy in its pixels, and class ids (N,).

    Its image is `planes`, (3, H, W) uint8 and contiguous, which is written to; without it, one of its own.
    """
    height, width = rgb.shape[:2]
    image = torch.empty((3, height, width), dtype=torch.uint8) if planes is None else planes
    cv2.split(rgb, list(image.numpy()))
    return Item(image, normalised(boxes_xyxy, (height, width)), torch.from_numpy(class_ids.copy()), info)


def normalised(boxes_xyxy: npt.NDArray[Any], size_hw: tuple[int, int]) -> Tensor:
    """(N, 4) float32 cxcywh as a fraction of an image, from boxes (N, 4) xyxy in its pixels."""
    height, width = size_hw
    return torch.from_numpy((xyxy_to_cxcywh(boxes_xyxy) / (width, height, width, height)).astype(np.float32))


def batch_memory(shape: tuple[int, ...]) -> Tensor:
    """uint8 of a shape, not filled, for the pixels of a batch.

    In a loader process it lies in memory that the training process shares, see `Segments`: a batch that is made
    elsewhere would be copied there.
    """
    worker, num_bytes = get_worker_info(), math.prod(shape)
    if worker is None or num_bytes == 0:
        return torch.empty(shape, dtype=torch.uint8)
    batches: Any = worker.dataset
    shared = batches.segments.take(num_bytes)
    return torch.empty(0, dtype=torch.uint8).set_(shared)[:num_bytes].reshape(shape)


def collate(items: Sequence[Item], images: Tensor | None = None) -> Batch:
    """A batch of items with images of one size, which lie in `images` (B, 3, H, W) already, if given."""
    targets = collate_targets([item.boxes_cxcywh_norm for item in items], [item.class_ids for item in items])
    stacked = torch.stack([item.image for item in items]) if images is None else images
    return Batch(stacked, targets, tuple(item.info for item in items))


def collate_targets(boxes: Sequence[Tensor], class_ids: Sequence[Tensor]) -> Targets:
    """The targets of a batch from the boxes and classes of each of its images, see `Item`."""
    counts = torch.tensor([len(own) for own in class_ids])
    return Targets(
        image_index=torch.repeat_interleave(torch.arange(len(counts)), counts),
        class_ids=torch.cat(list(class_ids)),
        boxes=torch.cat(list(boxes)),
    )


def empty_batch(size_hw: tuple[int, int]) -> Batch:
    """No images of a height and width in pixels: the share of a process for which a batch has too few."""
    no_number = torch.zeros(0, dtype=torch.int64)
    targets = Targets(no_number, no_number.clone(), torch.zeros(0, 4))
    return Batch(torch.zeros(0, 3, *size_hw, dtype=torch.uint8), targets, ())
