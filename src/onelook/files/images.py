"""Images in and out: bounded decoding to 8-bit RGB with EXIF rotation applied, checking, encoding.

Whatever is stored (grey, palette, alpha, 16 bits, CMYK, animation, several pages) becomes (H, W, 3) uint8 RGB of the
first image: grey is repeated, palettes are looked up, alpha is dropped, 16 bits are reduced to 8, CMYK is converted.
"""

from __future__ import annotations

import functools
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from onelook.errors import DataError
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import StrPath, content_digest, printable, read_bounded
from onelook.files.image_headers import (
    JPEG_END,
    DamagedImage,
    ImageHeader,
    ShortOfBytes,
    check_whole,
    has_jpeg_end,
    read_header,
)

Image = npt.NDArray[np.uint8]

KIND_OF_SUFFIX = {
    ".bmp": "bmp", ".jpeg": "jpeg", ".jpg": "jpeg", ".mpo": "jpeg",
    ".png": "png", ".tif": "tiff", ".tiff": "tiff", ".webp": "webp",
}  # fmt: skip
MIN_SIDE_PX = 10
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 1 << 29
# More pixels per byte are taken for a bomb, beyond a size. Blank pages compress without limit and are harmless up to
# 25 million pixels (75 MB decoded); a JPEG spends at least a bit on 512 pixels, so one that says more is cut or forged.
BOMB_PIXELS_PER_BYTE = 1000
BOMB_PIXELS, JPEG_BOMB_PIXELS = 25_000_000, 1_000_000

_HEADER_BYTES = 1 << 16
_NOT_END = bytes(range(1, 255)) * 4  # more coded data, no marker


@dataclass(frozen=True)
class ImageReport:
    """What a full check of an image file found.

    Attributes:
        size_hw: height and width after EXIF rotation, pixels; (0, 0) if unknown.
        digest: 16 bytes that are equal for equal content; empty if the file could not be read.
        problem: why the image cannot be used; None if it can.
        note: something odd about an image that can be used; None if there is nothing.
    """

    size_hw: tuple[int, int]
    digest: bytes
    problem: str | None = None
    note: str | None = None


def read_image(path: StrPath, *, scale_hint: int = 1) -> Image:
    """The pixels of an image file, (H, W, 3) uint8 RGB, upright.

    Args:
        path: any file name, UTF-8 or not.
        scale_hint: 1, 2, 4 or 8. A JPEG is decoded straight to ceil(H / scale_hint) x ceil(W / scale_hint), which is
            faster; other formats come at full size. The result's shape tells which.

    Raises:
        DataError: missing, not an image that we read, too large, or damaged.
    """
    data = read_bounded(path, MAX_FILE_BYTES)
    try:
        return decode_image(data, scale_hint=scale_hint)
    except DamagedImage as problem:
        raise DataError(f"image `{printable(path)}` cannot be used: {problem}") from problem


def decode_image(data: bytes, *, scale_hint: int = 1) -> Image:
    """As `read_image`, from the bytes of an image file.

    Raises:
        DamagedImage: the reason why not.
    """
    header = read_header(data)
    check_limits(data, header)
    check_whole(data, header)
    if header.kind == "jpeg" and not _ends_well(data, header):
        data = _closed_jpeg(data)
    bgr = _decode(_upright_tiff(data, header), _flags(header, scale_hint))
    _check_size(bgr, header, scale_hint)
    cv2 = _cv2()
    return _rotated(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), header.orientation)


def read_image_size(path: StrPath) -> tuple[int, int]:
    """Height and width of an image file in pixels, upright, from its header alone.

    Raises:
        DataError: missing, not an image that we read, or its header is damaged.
    """
    try:
        try:
            return read_header(read_bounded(path, _HEADER_BYTES, prefix=True)).size_hw
        except ShortOfBytes:
            return read_header(read_bounded(path, MAX_FILE_BYTES)).size_hw
    except DamagedImage as problem:
        raise DataError(f"image `{printable(path)}` cannot be used: {problem}") from problem


def check_image(path: StrPath) -> ImageReport:
    """Read and decode an image file once, to know before training whether it can be used; never changes the file.

    JPEGs are decoded at an eighth of their size, which reads all their coded data at a fraction of the time.
    """
    try:
        data = read_bounded(path, MAX_FILE_BYTES)
    except DataError as problem:
        return ImageReport((0, 0), b"", problem.message)
    digest = content_digest(data)
    try:
        header = read_header(data)
        return ImageReport(header.size_hw, digest, note=_check_content(data, header, path))
    except DamagedImage as problem:
        return ImageReport((0, 0), digest, str(problem))


def check_limits(data: bytes, header: ImageHeader) -> None:
    """Refuse an image by what its header says, before a pixel of it is decoded.

    Raises:
        DamagedImage: it has more than `MAX_PIXELS`, or more than so few bytes can hold.
    """
    height, width = header.size_hw
    if height * width > MAX_PIXELS:
        raise DamagedImage(f"{width} x {height} pixels are more than the limit of {MAX_PIXELS}")
    harmless = JPEG_BOMB_PIXELS if header.kind == "jpeg" else BOMB_PIXELS
    if height * width > max(harmless, len(data) * BOMB_PIXELS_PER_BYTE):
        raise DamagedImage(f"{width} x {height} pixels from {len(data)} bytes: this looks like a decompression bomb")


def encode_image(rgb: Image, suffix: str, *, quality: int = 95) -> bytes:
    """The bytes of an image file.

    Args:
        rgb: (H, W, 3) uint8 RGB.
        suffix: `.jpg`, `.png`, `.webp`, `.bmp`, `.tif` and their other spellings.
        quality: 1 to 100, for jpeg and webp; higher is better and larger.

    Raises:
        DataError: the suffix is unknown or the image has no pixels.
    """
    kind = KIND_OF_SUFFIX.get(suffix.lower())
    if kind is None or suffix.lower() == ".mpo":
        raise DataError(f"images cannot be written as `{suffix}`", hint="use .jpg, .png, .webp, .bmp or .tiff")
    if rgb.size == 0:
        raise DataError(f"an image of shape {rgb.shape} has no pixels to write")
    cv2 = _cv2()
    options = {"jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality], "webp": [cv2.IMWRITE_WEBP_QUALITY, quality]}.get(kind, [])
    _, encoded = cv2.imencode(suffix.lower(), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    return bytes(encoded)


def write_image(path: Path, rgb: Image, *, quality: int = 95) -> None:
    """Write (H, W, 3) uint8 RGB to `path`, whole or not at all; the suffix of `path` chooses the format."""
    write_bytes_atomic(path, encode_image(rgb, path.suffix, quality=quality))


@functools.cache
def _cv2() -> ModuleType:
    """OpenCV, told before its first import to be silent and to allocate no more than we allow."""
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    import cv2

    return cv2  # type: ignore[no-any-return, unused-ignore]


def _check_content(data: bytes, header: ImageHeader, path: StrPath) -> str | None:
    """Raise DamagedImage if the image cannot be used; return what is odd about it."""
    check_limits(data, header)
    if min(header.stored_hw) < MIN_SIDE_PX:
        height, width = header.size_hw
        raise DamagedImage(f"{width} x {height} pixels: both sides must have at least {MIN_SIDE_PX}")
    check_whole(data, header)
    notes = []
    if header.kind == "jpeg" and not _ends_well(data, header):
        data = _closed_jpeg(data)
        notes.append("the end marker of the JPEG is missing; its pixels are complete")
    scale = 8 if header.kind == "jpeg" else 1
    _check_size(_decode(_upright_tiff(data, header), _flags(header, scale)), header, scale)
    suffix = os.path.splitext(os.fspath(path))[1].lower()  # noqa: PTH122 - the name may be no UTF-8
    if KIND_OF_SUFFIX.get(suffix) != header.kind:
        notes.append(f"the content is {header.kind}, which `{printable(suffix)}` does not say")
    return "; ".join(notes) or None


def _ends_well(data: bytes, header: ImageHeader) -> bool:
    return data.endswith(JPEG_END) or has_jpeg_end(data, header.body)


def _closed_jpeg(data: bytes) -> bytes:
    """A JPEG that lacks its end marker, with one, provided that no pixel is missing.

    Decoders fill what is missing with grey and say nothing. So it is decoded twice, with different bytes put behind
    the end: if a pixel changes, the decoder was still waiting for data.
    """
    data = data.rstrip(b"\xff")
    cv2 = _cv2()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    closed = data + JPEG_END
    if not np.array_equal(_decode(closed, flags), _decode(data + _NOT_END + JPEG_END, flags)):
        raise DamagedImage("the JPEG is truncated: the lower part of the image is missing")
    return closed


def _flags(header: ImageHeader, scale: int) -> int:
    cv2 = _cv2()
    if scale not in (1, 2, 4, 8):
        raise ValueError(f"scale_hint is {scale}; it must be 1, 2, 4 or 8")
    color: int = cv2.IMREAD_COLOR
    if header.kind == "jpeg" and scale > 1:
        color = getattr(cv2, f"IMREAD_REDUCED_COLOR_{scale}")
    return color | int(cv2.IMREAD_IGNORE_ORIENTATION)


def _decode(data: bytes, flags: int) -> Image:
    cv2 = _cv2()
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as problem:
        raise DamagedImage(f"the decoder gave up: {problem}".split("\n", 1)[0]) from problem
    if bgr is None:
        raise DamagedImage("the image is damaged, truncated or of an unusual kind: it cannot be decoded")
    return bgr  # type: ignore[no-any-return, unused-ignore]


def _check_size(bgr: Image, header: ImageHeader, scale: int) -> None:
    divisor = scale if header.kind == "jpeg" else 1
    height, width = (-(-side // divisor) for side in header.stored_hw)
    if bgr.shape != (height, width, 3) or bgr.dtype != np.uint8:
        raise DamagedImage(f"the header says {width} x {height} pixels, the image has {bgr.shape[1]} x {bgr.shape[0]}")


def _upright_tiff(data: bytes, header: ImageHeader) -> bytes:
    """A TIFF without its orientation, which OpenCV would apply whatever it is told, and not in all versions alike."""
    if header.tiff is None or header.orientation == 1:
        return data
    upright = bytearray(data)
    struct.pack_into(header.tiff.byte_order + "H", upright, header.tiff.orientation_at, 1)
    return bytes(upright)


def _rotated(image: Image, orientation: int) -> Image:
    """The image as it should be seen, for EXIF codes 1 to 8."""
    if orientation == 1:
        return image
    if orientation >= 5:  # stored lying on its side
        image = image.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(image[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])
