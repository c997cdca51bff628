"""Perceptual hashes of images, to find those that show the same; and the EXIF orientations of their files.

The hash is the DCT hash of "Implementation and benchmarking of perceptual image hash functions" (Zauner 2010). It stays
nearly the same when an image is scaled, compressed again, or made a little brighter.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from onelook.data.parallel_map import Work, each
from onelook.data.scan.cache import cache_key, load_scan, save_scan
from onelook.errors import DataError
from onelook.files.bounded import read_bounded
from onelook.files.image_headers import MAX_PIXELS, DamagedImage, read_header
from onelook.files.images import decode_image, max_file_bytes, scale_hint_for
from onelook.files.states import file_states

logger = logging.getLogger(__name__)

FORMAT = 3
THUMBNAIL_SIDE = 16
# Images with a smaller spread of grey levels are flat: the hash of a blank page is noise.
FLAT_LEVELS = 2.0

_HASHED_SIDE = 32
_LEAST_DECODED_SIDE = 64
_NAME = "the comparison of the images"


@dataclass(frozen=True)
class ImageHashes:
    """N images.

    Attributes:
        hashes: (N,) uint64; images that look alike differ in few bits.
        mirrored: (N,) uint64, the hashes of the images with left and right exchanged.
        thumbnails: (N, 256) uint8, 16 x 16 grey levels.
        is_flat: (N,) bool, nearly one grey level all over.
        orientations: (N,) uint8, EXIF code 1 to 8.
    """

    hashes: npt.NDArray[np.uint64]
    mirrored: npt.NDArray[np.uint64]
    thumbnails: npt.NDArray[np.uint8]
    is_flat: npt.NDArray[np.bool_]
    orientations: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.hashes)


def image_hashes(
    paths: Sequence[str], *, work: Work, cache_folder: Path | None = None, max_pixels: int = MAX_PIXELS
) -> ImageHashes:
    """The hashes of images that a scan found usable; one that can no longer be read counts as flat.

    Args:
        cache_folder: where an earlier result of unchanged files may be and the new one goes; None keeps none.
    """
    key = cache_key(paths, file_states(paths), root=Path(), rules=f"hashes {FORMAT}")
    name = hashlib.sha256(b"\0".join(os.fsencode(path) for path in paths)).hexdigest()[:24]
    file = None if cache_folder is None else cache_folder / f"hashes-{name}.cache"
    kept = None if file is None else load_scan(file, key)
    if kept is not None:
        return ImageHashes(**{field.name: kept[field.name] for field in fields(ImageHashes)})
    found = list(each(partial(_image_hash, max_pixels=max_pixels), paths, work, name=_NAME))
    thumbnails = np.array([one[2] for one in found], np.uint8).reshape(-1, THUMBNAIL_SIDE**2)
    hashes = ImageHashes(
        hashes=np.array([one[0] for one in found], np.uint64),
        mirrored=np.array([one[1] for one in found], np.uint64),
        thumbnails=thumbnails,
        is_flat=thumbnails.std(axis=1) < FLAT_LEVELS,
        orientations=np.array([one[3] for one in found], np.uint8),
    )
    if file is not None:
        save_scan(file, {"key": key, **vars(hashes)})
    return hashes


def perceptual_hash(grey: npt.NDArray[np.uint8]) -> int:
    """64 bits of a (32, 32) grey image: which of its 64 slowest waves but the mean are above their median."""
    waves = cv2.dct(grey.astype(np.float32))[:9, :8].reshape(-1)[1:65]
    bits = np.packbits(waves > np.median(waves))
    return int.from_bytes(bits.tobytes(), "big")


def _image_hash(path: str, max_pixels: int) -> tuple[int, int, npt.NDArray[np.uint8], int]:
    try:
        data = read_bounded(path, max_file_bytes(max_pixels))
        header = read_header(data)
        scale_hint = scale_hint_for(min(header.stored_hw), _LEAST_DECODED_SIDE)
        rgb = decode_image(data, scale_hint=scale_hint, max_pixels=max_pixels)
    except (DataError, DamagedImage) as problem:
        logger.debug("no hash of `%s`: %s", path, problem)
        return 0, 0, np.zeros(THUMBNAIL_SIDE**2, np.uint8), 1
    grey = _resized(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), _HASHED_SIDE)
    thumbnail = _resized(grey, THUMBNAIL_SIDE).reshape(-1)
    return perceptual_hash(grey), perceptual_hash(np.ascontiguousarray(grey[:, ::-1])), thumbnail, header.orientation


def _resized(grey: npt.NDArray[Any], side_px: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.resize(grey, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)
