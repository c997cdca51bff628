"""The training images in the memory of the device that renders them, so that nothing but plans travels to it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onelook.data.augment.plan import Tile
from onelook.data.augment.resize import halved, num_halvings
from onelook.data.augment.tile_tables import StoredImage
from onelook.data.capacity import available_memory
from onelook.data.image_cache import FILLING, ImageFiles
from onelook.data.parallel_map import Work, each
from onelook.geometry.letterbox import fitted_size

MOST_OF_FREE_MEMORY = 0.5  # the rest is for training
EXTENT_SLACK = 0.99  # sizes are rounded to whole pixels
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptLocations:
    """Where the images lie; loader processes have this, and no pixels.

    Attributes:
        starts: (N,) first pixel of each image; its halves, quarters and so on come after it.
        sizes_hw: (N, 2) height and width of the images, pixels.
        levels: (N,) number of sizes of each image.
    """

    starts: npt.NDArray[np.int64]
    sizes_hw: npt.NDArray[np.int64]
    levels: npt.NDArray[np.int64]

    def locate(self, tile: Tile, region: npt.NDArray[np.float64]) -> StoredImage:
        """See `PixelLocations`; the whole image is stored, whatever is seen of it."""
        sizes = level_sizes(self.sizes_hw[tile.source].tolist(), int(self.levels[tile.source]))
        level = min(num_halvings(sizes[0], tile.extent_wh), len(sizes) - 1)
        start = int(self.starts[tile.source]) + sum(height * width for height, width in sizes[:level])
        return StoredImage(sizes[level], start, sizes[level][1])


@dataclass(frozen=True)
class DeviceImages:
    """Decoded images on a device.

    Attributes:
        pixels: (P, 3) uint8 RGB of all images, and of their halves as far as these are needed.
        locations: which image lies where.
    """

    pixels: Tensor
    locations: KeptLocations


def device_images(
    files: ImageFiles, device: torch.device, *, scale: float, work: Work | None = None, num_processes: int = 1
) -> DeviceImages | None:
    """All images on `device`; None, with a warning, if they would take more than half of its free memory.

    Args:
        files: the images; all of them are decoded now.
        scale: largest reduction of images by augmentation, as a fraction; smaller sizes are kept as far as needed.
        num_processes: number of processes that keep their own images in this memory.

    Raises:
        DataError: an image cannot be read.
        StopRequested: `work.stop_requested` said so.
    """
    shapes = [files.shape(number)[:2] for number in range(len(files.index))]
    levels = [1 + _most_halvings(shape, files.imgsz, scale) for shape in shapes]
    counts = np.array(
        [sum(h * w for h, w in level_sizes(shape, level)) for shape, level in zip(shapes, levels, strict=True)],
        np.int64,
    )
    needed = 3 * int(counts.sum()) * num_processes
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    if free is not None and needed > MOST_OF_FREE_MEMORY * free:
        logger.warning(
            "`cache: gpu` keeps images in main memory: %d images would need %.2f GB on the device, and half of its "
            "free memory is %.2f GB",
            len(shapes), needed / 1e9, MOST_OF_FREE_MEMORY * free / 1e9,
        )  # fmt: skip
        return None
    starts = np.cumsum(counts) - counts
    pixels = torch.empty((int(counts.sum()), 3), dtype=torch.uint8, device=device)

    def load(number: int) -> None:
        image, start = files.image(number), int(starts[number])
        for _ in range(levels[number]):
            end = start + image.shape[0] * image.shape[1]
            pixels[start:end] = torch.from_numpy(np.ascontiguousarray(image).reshape(-1, 3))
            image, start = halved(image, 1) if min(image.shape[:2]) >= 2 else image, end

    for _ in each(load, range(len(shapes)), work or Work(), name=FILLING):
        pass
    sizes = np.array(shapes, np.int64).reshape(-1, 2)
    return DeviceImages(pixels, KeptLocations(starts, sizes, np.array(levels, np.int64)))


def level_sizes(size_hw: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Height and width of an image, of its half, and so on.

    >>> level_sizes((5, 8), 3)
    [(5, 8), (2, 4), (1, 2)]
    """
    return [(size_hw[0] >> level, size_hw[1] >> level) for level in range(count)]


def _most_halvings(size_hw: tuple[int, int], imgsz: int, scale: float) -> int:
    """How often an image can have to be halved, see `num_halvings`."""
    least = max(0.0, 1 - scale) * EXTENT_SLACK
    height, width = fitted_size(size_hw, imgsz)
    return num_halvings(size_hw, (width * least, height * least))
