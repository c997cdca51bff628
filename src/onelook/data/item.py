"""One image of a batch with its labels, and how such items become a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

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
        image: (3, H, W) uint8 RGB; the colours of a pixel lie side by side in memory.
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
) -> Item:
    """An item from an RGB image (H, W, 3), which is not copied, boxes (N, 4) xyxy in its pixels, and class ids (N,)."""
    height, width = rgb.shape[:2]
    image = torch.from_numpy(rgb).permute(2, 0, 1)
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


def collate(items: Sequence[Item], pixels: Tensor | None = None) -> Batch:
    """A batch of items with images of one size, which lie in `pixels` (B, H, W, 3) already, if given."""
    targets = collate_targets([item.boxes_cxcywh_norm for item in items], [item.class_ids for item in items])
    if pixels is None:
        pixels = torch.stack([item.image.permute(1, 2, 0) for item in items])
    return Batch(pixels.permute(0, 3, 1, 2), targets, tuple(item.info for item in items))


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
