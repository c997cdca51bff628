"""Where pixels come from: image files, or copies of the decoded images in memory or on disk.

All three give the same bytes for the same image, so a cache changes the speed of a run and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from onelook.data.augment.plan import Image
from onelook.data.augment.render_cpu import ImageSource
from onelook.data.augment.resize import shrunk
from onelook.data.capacity import available_memory
from onelook.data.parallel_map import Work, each
from onelook.errors import DataError
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import printable
from onelook.files.images import read_image, scale_hint_for
from onelook.geometry.letterbox import fitted_size
from onelook.structures.dataset_index import DatasetIndex

MARGIN = 1.1  # of memory or disk left over
UNASKED_SHARE = 1 / 8  # of the free memory: what images may take that nobody asked to keep
_DIGEST_BYTES = hashlib.sha256().digest_size
FORMAT = "2"  # of the pixels; part of the key of a copy on disk
FILLING = "the filling of the image cache"
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageFiles:
    """The images of a dataset, decoded from their files each time, longer side at most `imgsz` pixels.

    JPEGs are decoded at 1/2, 1/4 or 1/8 of their size if that is enough.
    """

    index: DatasetIndex
    imgsz: int

    def image(self, number: int) -> Image:
        """(H, W, 3) uint8 RGB; DataError if the file has vanished, is damaged, or has another size than at the scan."""
        size_hw = self.index.size_of(number)
        path = self.index.paths[number]
        scale = scale_hint_for(max(size_hw), self.imgsz)
        image = read_image(path, scale_hint=scale, is_checked=True, max_pixels=self.index.max_pixels)
        reduced = tuple(-(-side // scale) for side in size_hw)
        if image.shape[:2] not in (size_hw, reduced):
            raise DataError(
                f"image `{printable(path)}` no longer has the {size_hw[1]} x {size_hw[0]} pixels that it had when the "
                "dataset was scanned",
                hint="start again, so that the dataset is scanned again",
            )
        return shrunk(image, size_hw, self.imgsz)

    def shape(self, number: int) -> tuple[int, int, int]:
        """Of the array that `image` gives."""
        size_hw = self.index.size_of(number)
        height, width = size_hw if max(size_hw) <= self.imgsz else fitted_size(size_hw, self.imgsz)
        return height, width, 3

    def num_bytes(self) -> npt.NDArray[np.int64]:
        """(N,) bytes of each image."""
        shapes = np.array([self.shape(number) for number in range(len(self.index))], np.int64)
        num_bytes: npt.NDArray[np.int64] = shapes.reshape(-1, 3).prod(axis=1)
        return num_bytes


class OnceABatch:
    """The images of `source`; while a batch is made, each is decoded once, however many mosaics it is part of."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self._kept: dict[int, Image] | None = None

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """While a batch is made."""
        self._kept = {}
        try:
            yield
        finally:
            self._kept = None

    def image(self, number: int) -> Image:
        if self._kept is None:
            return self._source.image(number)
        if number not in self._kept:
            self._kept[number] = self._source.image(number)
        return self._kept[number]


class RamCache:
    """All images, decoded now, in a block of memory that loader processes share: forked ones as it is, others by torch.

    Raises:
        DataError: an image cannot be read.
        StopRequested: `work.stop_requested` said so.
    """

    def __init__(self, files: ImageFiles, work: Work | None = None) -> None:
        self._files = files
        sizes = files.num_bytes()
        self._ends = np.cumsum(sizes)
        self._buffer = torch.empty(int(sizes.sum()), dtype=torch.uint8)
        block = self._buffer.numpy()

        def load(number: int) -> None:
            image = files.image(number)
            end = int(self._ends[number])
            block[end - image.size : end] = image.reshape(-1)

        for _ in each(load, range(len(sizes)), work or Work(), name=FILLING):
            pass

    def image(self, number: int) -> Image:
        """(H, W, 3) uint8 RGB, a view of the shared memory."""
        shape = self._files.shape(number)
        end = int(self._ends[number])
        pixels: Image = self._buffer.numpy()[end - shape[0] * shape[1] * 3 : end]
        return pixels.reshape(shape)


@dataclass
class DiskCache:
    """Copies of the decoded images in a folder of ours: SHA-256 and pixels; made when an image is first needed.

    A copy belongs to the path, byte size and modification time of its image; one whose hash is wrong, or of an image
    that has changed, is made again. Where no copy can be written, images are read from their files.

    Attributes:
        folder: exists; lies outside the dataset.
        has_failed: a copy could not be written by this process, which said so.
    """

    files: ImageFiles
    folder: Path
    has_failed: bool = False

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
        try:
            if shutil.disk_usage(self.folder).free > MARGIN * image.nbytes:
                pixels = image.tobytes()
                write_bytes_atomic(copy, _digest(copy, pixels) + pixels)
        except OSError as problem:  # a quota, a folder that is read-only by now, another process with the copy open
            if not self.has_failed:
                LOGGER.warning("the copy `%s` of an image cannot be written: %s", copy, problem.strerror)
            self.has_failed = True
        return image

    def missing(self) -> list[int]:
        """Numbers of the images that have no copy yet."""
        return [number for number in range(len(self.files.index)) if not self._copy_path(number).is_file()]

    def _copy_path(self, number: int) -> Path:
        path = self.files.index.paths[number]
        try:
            status = os.stat(path)  # noqa: PTH116 - the name may be no UTF-8
        except OSError as problem:
            raise DataError(
                f"image `{printable(path)}` cannot be read: {problem.strerror}",
                hint="it was there when the dataset was scanned",
            ) from problem
        text = "\0".join([FORMAT, path, str(status.st_size), str(status.st_mtime_ns), str(self.files.imgsz)])
        return self.folder / f"{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.rgb"


def ram_cache(files: ImageFiles, work: Work | None = None, *, num_processes: int = 1) -> RamCache | None:
    """All images, decoded now, in memory; None, with a warning, if there is too little of it.

    Args:
        num_processes: processes on this machine that keep images of their own.

    Raises:
        DataError: an image cannot be read.
    """
    needed, free = int(files.num_bytes().sum()) * num_processes, available_memory()
    if free is not None and needed * MARGIN > free:
        LOGGER.warning(
            "setting `cache` is ignored: %d images would need %.2f GB of memory, and %.2f GB are free",
            len(files.index), needed / 1e9, free / 1e9,
        )  # fmt: skip
        return None
    return RamCache(files, work)


def unasked_cache(files: ImageFiles, work: Work | None = None, *, num_processes: int = 1) -> RamCache | None:
    """All images, decoded now, in memory, if they take little of it; None if they do not, or if one cannot be read.

    A run can do without a few images (see `unreadable_images`), so it need not end here.

    Args:
        num_processes: as of `ram_cache`.
    """
    needed = int(files.num_bytes().sum()) * num_processes
    if not is_little(needed):
        LOGGER.info(
            "%d images are read from their files each time: decoded, they take %.2f GB of memory, see `--cache`",
            len(files.index), needed / 1e9,
        )  # fmt: skip
        return None
    try:
        return RamCache(files, work)
    except DataError:
        return None


def is_little(num_bytes: int) -> bool:
    """Whether this is so small a part of the free memory that it can be taken unasked; False if that is not known."""
    free = available_memory()
    return free is not None and num_bytes <= UNASKED_SHARE * free


def disk_cache(
    files: ImageFiles, folder: Path, work: Work | None = None, *, rank: int = 0, world_size: int = 1
) -> DiskCache | None:
    """Copies of all images in a folder; None, with a warning, if the disk has too little room for those still missing.

    Args:
        files: the images; those without a copy are decoded now.
        folder: where the copies are kept, outside the dataset; made if it is not there.
        rank, world_size: this process makes every `world_size`-th copy, the others make the rest.

    Raises:
        DataError: an image cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cache = DiskCache(files, folder)
    missing = cache.missing()
    needed, free = int(files.num_bytes()[missing].sum()), shutil.disk_usage(folder).free
    if needed * MARGIN > free:
        LOGGER.warning(
            "setting `cache` is ignored: %d images would need %.2f GB in `%s`, and %.2f GB are free",
            len(missing), needed / 1e9, folder, free / 1e9,
        )  # fmt: skip
        return None
    for _ in each(cache.image, missing[rank::world_size], work or Work(), name=FILLING):
        pass
    return cache


def _load_copy(copy: Path, shape: tuple[int, int, int]) -> Image | None:
    """The pixels in `copy`, if it is there and is what was written."""
    num_bytes = _DIGEST_BYTES + math.prod(shape)
    try:
        with copy.open("rb") as file:
            content = bytearray(num_bytes)
            is_whole = file.readinto(content) == num_bytes and not file.read(1)
    except FileNotFoundError:
        return None
    except OSError as problem:
        LOGGER.warning("the copy `%s` of an image cannot be read (%s) and is made again", copy, problem.strerror)
        return None
    pixels = memoryview(content)[_DIGEST_BYTES:]
    if not is_whole or content[:_DIGEST_BYTES] != _digest(copy, pixels):
        LOGGER.warning("the copy `%s` of an image is damaged and is made again", copy)
        return None
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def _digest(copy: Path, pixels: bytes | memoryview) -> bytes:
    """Of a copy and its name, so that the copy of another image will not do."""
    digest = hashlib.sha256(copy.name.encode())
    digest.update(pixels)
    return digest.digest()
