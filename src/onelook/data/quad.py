"""Batches at twice the size: some images are one image enlarged, the others four images in a grid.

A full batch that would have B images has B / 4 samples instead: half of them (rounded down) show one image, the rest
four. So the network sees objects at twice and at the usual size, for about the same work per batch, and every image of
an epoch is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import cv2
import torch

from onelook.data.augment.resize import FILL
from onelook.data.item import Item

GRID = 4  # images in a grid
Key = TypeVar("Key")


def num_enlarged(batch_size: int) -> int:
    """How many images of a full batch are one image; `batch_size` is that without quad."""
    return _full(batch_size) // 2


def num_images(batch_size: int) -> int:
    """How many images a full batch shows; `batch_size` is that without quad.

    >>> [num_images(batch_size) for batch_size in (4, 8, 16, 64)]
    [4, 5, 10, 40]
    """
    alone = num_enlarged(batch_size)
    return alone + GRID * (_full(batch_size) - alone)


def num_samples(images: int, batch_size: int) -> int:
    """Number of samples in a batch that shows `images` images; `batch_size` is that of a full batch without quad.

    >>> [num_samples(images, 16) for images in (10, 7, 3, 1)]
    [4, 4, 3, 1]
    """
    alone = min(num_enlarged(batch_size), images)
    return alone + -(-(images - alone) // GRID)


def grouped(keys: Sequence[Key], batch_size: int) -> list[tuple[Key, ...]]:
    """The images of one batch, grouped into its samples: first those that stand alone, then the grids.

    >>> grouped("abcdefg", 16)
    [('a',), ('b',), ('c', 'd', 'e', 'f'), ('g',)]
    """
    alone = min(num_enlarged(batch_size), len(keys))
    grids = [tuple(keys[first : first + GRID]) for first in range(alone, len(keys), GRID)]
    return [*((key,) for key in keys[:alone]), *grids]


def _full(batch_size: int) -> int:
    """Images of a full batch: at least one, though a batch that was found to fit may have fewer than four images."""
    return max(batch_size // GRID, 1)


def at_twice_the_size(items: Sequence[Item]) -> Item:
    """One image of twice the height and width: one item enlarged, or two to four of one size in a grid.

    The first is top left, the second below it, the third top right, the fourth bottom right; what is missing is grey.
    """
    return _enlarged(items[0]) if len(items) == 1 else _in_a_grid(items)


def _enlarged(item: Item) -> Item:
    rgb = item.image.permute(1, 2, 0).numpy()  # (H, W, 3)
    enlarged = cv2.resize(rgb, (2 * rgb.shape[1], 2 * rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
    return item._replace(image=torch.from_numpy(enlarged).permute(2, 0, 1))


def _in_a_grid(items: Sequence[Item]) -> Item:
    _, height, width = items[0].image.shape
    image = torch.full((2 * height, 2 * width, 3), FILL, dtype=torch.uint8).permute(2, 0, 1)
    boxes = []
    for number, item in enumerate(items):
        column, row = divmod(number, 2)
        image[:, row * height : (row + 1) * height, column * width : (column + 1) * width] = item.image
        boxes.append((item.boxes_cxcywh_norm + torch.tensor([column, row, 0, 0])) / 2)
    return Item(
        image=image,
        boxes_cxcywh_norm=torch.cat(boxes),
        class_ids=torch.cat([item.class_ids for item in items]),
        info=replace(
            items[0].info,
            num_images=len(items),
            num_dropped_boxes=sum(item.info.num_dropped_boxes for item in items),
            lost=sum((item.info.lost for item in items), ()),
        ),
    )
