"""Where pixels come from: image files, or copies of the decoded images in memory or on disk.

All three give the same bytes for the same image, so a cache changes the speed of a run and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from onelook.data.augment.letterboxed import reduced_scale, shrunk
from onelook.errors import DataError
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import printable
from onelook.files.images import read_image
from onelook.geometry.letterbox import fitted_size
from onelook.structures.dataset_index import DatasetIndex

Image = npt.NDArray[np.uint8]
MARGIN = 1.1  # of memory or disk left over
NPY_HEADER_BYTES = 128
FORMAT = "1"  # of the pixels; part of the key of a copy on disk
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageFiles:
    """The images of a data set, decoded from their files each time, longer side at most `imgsz` pixels.

    JPEGs are decoded at 1/2, 1/4 or 1/8 of their size if that is enough.
    """

    index: DatasetIndex
    imgsz: int

    def image(self, number: int) -> Image:
        """(H, W, 3) uint8 RGB.

        Raises:
            DataError: the file has vanished, is damaged, or has another size than at the scan.
        """
        size_hw = self._size_hw(number)
        path = self.index.paths[number]
        scale = reduced_scale(size_hw, self.imgsz)
        image = read_image(path, scale_hint=scale)
        reduced = tuple(-(-side // scale) for side in size_hw)
        if image.shape[:2] not in (size_hw, reduced):
            raise DataError(
                f"image `{printable(path)}` no longer has the {size_hw[1]} x {size_hw[0]} pixels that it had when the "
                "data set was scanned",
                hint="start again, so that the data set is scanned again",
            )
        return shrunk(image, size_hw, self.imgsz)

    def shape(self, number: int) -> tuple[int, int, int]:
        """Of the array that `image` gives."""
        size_hw = self._size_hw(number)
        height, width = size_hw if max(size_hw) <= self.imgsz else fitted_size(size_hw, self.imgsz)
        return height, width, 3

    def _size_hw(self, number: int) -> tuple[int, int]:
        height, width = self.index.sizes_hw[number].tolist()
        return height, width

    def num_bytes(self) -> npt.NDArray[np.int64]:
        """(N,) bytes of each image."""
        shapes = np.array([self.shape(number) for number in range(len(self.index))], np.int64)
        num_bytes: npt.NDArray[np.int64] = shapes.reshape(-1, 3).prod(axis=1)
        return num_bytes


class RamCache:
    """All images in one block of memory, which loader processes share: forked ones as it is, others through torch.

    Args:
        files: the images; all of them are decoded now, on `num_threads` threads.
        num_threads: at least 1.

    Raises:
        DataError: an image cannot be read.
    """

    def __init__(self, files: ImageFiles, *, num_threads: int = 1) -> None:
        self._files = files
        sizes = files.num_bytes()
        self._ends = np.cumsum(sizes)
        self._buffer = torch.empty(int(sizes.sum()), dtype=torch.uint8)
        block = self._buffer.numpy()

        def load(number: int) -> None:
            image = files.image(number)
            end = int(self._ends[number])
            block[end - image.size : end] = image.reshape(-1)

        with ThreadPoolExecutor(num_threads) as pool:
            for _ in pool.map(load, range(len(sizes))):
                pass

    def image(self, number: int) -> Image:
        """(H, W, 3) uint8 RGB, a view of the shared memory."""
        shape = self._files.shape(number)
        end = int(self._ends[number])
        pixels: Image = self._buffer.numpy()[end - shape[0] * shape[1] * 3 : end]
        return pixels.reshape(shape)


@dataclass(frozen=True)
class DiskCache:
    """Raw copies of the decoded images as .npy files in a folder of ours; made when an image is first needed.

    A copy belongs to the path, byte size and modification time of its image; one that is damaged, or of an image that
    has changed, is made again. If the disk is full, images are read from their files.

    Attributes:
        files: the images.
        folder: exists; lies outside the data set.
    """

    files: ImageFiles
    folder: Path

    def image(self, number: int) -> Image:
        """(H, W, 3) uint8 RGB.

        Raises:
            DataError: the image file has vanished, is damaged, or has another size than at the scan.
        """
        copy = self._copy_path(number)
        kept = _load_copy(copy, self.files.shape(number))
        if kept is not None:
            return kept
        image = self.files.image(number)
        if shutil.disk_usage(self.folder).free > MARGIN * image.nbytes:
            stream = io.BytesIO()
            np.save(stream, image, allow_pickle=False)
            write_bytes_atomic(copy, stream.getvalue())
        return image

    def _copy_path(self, number: int) -> Path:
        path = self.files.index.paths[number]
        try:
            status = os.stat(path)  # noqa: PTH116 - the name may be no UTF-8
        except OSError as problem:
            raise DataError(
                f"image `{printable(path)}` cannot be read: {problem.strerror}",
                hint="it was there when the data set was scanned",
            ) from problem
        text = "\0".join([FORMAT, path, str(status.st_size), str(status.st_mtime_ns), str(self.files.imgsz)])
        return self.folder / f"{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.npy"


def ram_cache(files: ImageFiles, *, num_threads: int = 1) -> RamCache | None:
    """All images in memory; None, with a warning, if there is too little of it."""
    needed = int(files.num_bytes().sum())
    free = available_memory()
    if free is not None and needed * MARGIN > free:
        LOGGER.warning(
            "setting `cache: ram` is ignored: the images need %.1f GB of memory, %.1f GB are free",
            needed / 1e9,
            free / 1e9,
        )
        return None
    return RamCache(files, num_threads=num_threads)


def available_memory() -> int | None:
    """Bytes that can be used without swapping, within the limits of the container; None where this is not known."""
    limits = [*_memory_of_machine(), *_memory_of_container()]
    return min(limits, default=None)


def _memory_of_machine() -> Iterator[int]:
    path = Path("/proc/meminfo")
    if path.is_file():
        for line in path.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _memory_of_container() -> Iterator[int]:
    """What the control groups, version 2 and 1, leave us."""
    root = Path("/sys/fs/cgroup")
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit_path, used_path = root / limit_name, root / used_name
        if limit_path.is_file() and used_path.is_file():
            limit, used = (path.read_text(encoding="ascii").strip() for path in (limit_path, used_path))
            if limit.isdigit() and used.isdigit():
                yield max(0, int(limit) - int(used))


def _load_copy(copy: Path, shape: tuple[int, int, int]) -> Image | None:
    """The array in `copy`, if it is there and is what it should be."""
    try:
        if copy.stat().st_size != NPY_HEADER_BYTES + math.prod(shape):
            raise ValueError(copy)
        stored = np.load(copy, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        LOGGER.info("the copy `%s` of an image is damaged and is made again", copy)
        return None
    return stored if isinstance(stored, np.ndarray) and stored.shape == shape and stored.dtype == np.uint8 else None
