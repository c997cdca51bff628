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
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from onelook.errors import DataError
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import StrPath, content_digest, printable, read_bounded
from onelook.files.fault_kinds import Remark
from onelook.files.image_headers import (
    MAX_PIXELS,
    MOST_PIXELS,
    DamagedImage,
    ImageHeader,
    check_png_pixels,
    check_whole,
    image_of_png,
    num_images,
    read_header,
)
from onelook.files.jpeg import decode_jpeg

Image = npt.NDArray[np.uint8]
AnyImage = TypeVar("AnyImage", npt.NDArray[np.uint8], npt.NDArray[np.uint16])

KIND_OF_SUFFIX = {
    ".bmp": "bmp", ".jfif": "jpeg", ".jpe": "jpeg", ".jpeg": "jpeg", ".jpg": "jpeg", ".mpo": "jpeg",
    ".png": "png", ".tif": "tiff", ".tiff": "tiff", ".webp": "webp",
}  # fmt: skip
WRITTEN_SUFFIXES = frozenset(KIND_OF_SUFFIX) - {".mpo"}
MIN_SIDE_PX = 10
MAX_FILE_BYTES = 1 << 29
_MAX_BYTES_PER_PIXEL = 8  # stored as they are, four channels of 16 bits
# An image of 16 bits that uses no more than these becomes black, or nearly so, when it is reduced to 8.
DARK_BITS = 14
# A JPEG spends at least a bit on 512 pixels: one of this size that says more of itself is cut or forged.
JPEG_PIXELS_PER_BYTE, SMALL_JPEG_PIXELS = 1000, 1_000_000


@dataclass(frozen=True)
class ImageReport:
    """What a full check of an image file found.

    Attributes:
        size_hw: height and width after EXIF rotation, pixels; (0, 0) if unknown.
        digest: 16 bytes that are equal for equal content; empty if the file could not be read.
        problem: why the image cannot be used; None if it can.
        notes: what is odd about an image that can be used.
    """

    size_hw: tuple[int, int]
    digest: bytes
    problem: Remark | None = None
    notes: tuple[Remark, ...] = ()


def read_image(path: StrPath, *, scale_hint: int = 1, is_checked: bool = False, max_pixels: int = MAX_PIXELS) -> Image:
    """The pixels of an image file, (H, W, 3) uint8 RGB, after EXIF rotation.

    Args:
        scale_hint: 1, 2, 4 or 8. A JPEG is decoded straight to ceil(H / scale_hint) x ceil(W / scale_hint), which is
            faster; other formats come at full size. The result's shape tells which.
        is_checked: `check_image` found nothing wrong with the file; a PNG is then not unpacked twice.

    Raises:
        DataError: missing, not an image that we read, too large, or damaged.
    """
    data = read_bounded(path, max_file_bytes(max_pixels))
    try:
        return decode_image(data, scale_hint=scale_hint, is_checked=is_checked, max_pixels=max_pixels)
    except DamagedImage as problem:
        hint = None if problem.kind == "bomb" else "save it again as .jpg or .png, or leave it out"
        raise DataError(f"image `{printable(path)}` cannot be used: {problem}", hint=hint) from problem


def decode_image(data: bytes, *, scale_hint: int = 1, is_checked: bool = False, max_pixels: int = MAX_PIXELS) -> Image:
    """As `read_image`, from the bytes of an image file.

    Raises:
        DamagedImage: the reason why not.
    """
    header = read_header(data)
    check_limits(data, header, max_pixels)
    check_whole(data, header)
    if header.kind == "png" and not is_checked:
        check_png_pixels(data)
    rgb, _ = _decode(data, header, scale_hint)
    return _rotated(rgb, header.orientation)


def stored_values(data: bytes) -> npt.NDArray[Any]:
    """The samples of an image without palette as they are stored, (H, W) or (H, W, channels) in the order of a file.

    Raises:
        DamagedImage: it cannot be decoded.
    """
    cv2 = opencv()
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise DamagedImage("the image is damaged: it cannot be decoded")
    if values.ndim == 2:
        return np.asarray(values)
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_BGR2RGB if values.shape[2] == 3 else cv2.COLOR_BGRA2RGBA))


def scale_hint_for(side_px: int, least_px: int) -> int:
    """The largest hint, 1, 2, 4 or 8, at which a side of an image still has at least so many pixels.

    >>> [scale_hint_for(side, 640) for side in (640, 1279, 1280, 9000)]
    [1, 1, 2, 8]
    """
    return next(scale for scale in (8, 4, 2, 1) if scale == 1 or side_px >= scale * least_px)


def check_image(path: StrPath, *, max_pixels: int = MAX_PIXELS) -> ImageReport:
    """Read and decode an image file once, to know before training whether it can be used; never changes the file.

    JPEGs are decoded at an eighth of their size, which reads all their coded data at a fraction of the time.
    """
    try:
        data = read_bounded(path, max_file_bytes(max_pixels))
    except DataError as problem:
        return ImageReport((0, 0), b"", Remark(problem.message))
    digest = content_digest(data)
    try:
        header = read_header(data)
        return ImageReport(header.size_hw, digest, notes=tuple(_check_content(data, header, path, max_pixels)))
    except DamagedImage as problem:
        return ImageReport((0, 0), digest, Remark(str(problem), problem.kind))


def max_file_bytes(max_pixels: int) -> int:
    """Bytes of the largest file that is read where images may have so many pixels."""
    return max(MAX_FILE_BYTES, _MAX_BYTES_PER_PIXEL * max_pixels) if max_pixels > MAX_PIXELS else MAX_FILE_BYTES


def check_limits(data: bytes, header: ImageHeader, max_pixels: int) -> None:
    """Refuse an image by what its header says, before a pixel of it is decoded.

    Raises:
        DamagedImage: it has more pixels than are allowed, or than so few bytes can hold.
    """
    height, width = header.size_hw
    if height * width > max_pixels:
        raise DamagedImage(
            f"{width} x {height} pixels are more than the limit of {max_pixels:,}: "
            f"`--max-pixels {height * width}` would allow them",
            kind="bomb",
        )
    if header.kind == "jpeg" and height * width > max(SMALL_JPEG_PIXELS, len(data) * JPEG_PIXELS_PER_BYTE):
        raise DamagedImage(
            f"{width} x {height} pixels from {len(data)} bytes: this looks like a decompression bomb", kind="bomb"
        )


def drawn_name(source: Path, stem: str) -> str:
    """What a drawn copy of an image is called: `stem`, with the suffix of `source` where we can write such files."""
    return f"{stem}{source.suffix if source.suffix.lower() in WRITTEN_SUFFIXES else '.jpg'}"


def encode_image(rgb: Image, suffix: str, *, quality: int = 95) -> bytes:
    """The bytes of an image file.

    Args:
        rgb: (H, W, 3) uint8 RGB.
        suffix: `.jpg`, `.png`, `.webp`, `.bmp`, `.tif` and their other spellings.
        quality: 1 to 100, for jpeg and webp; higher is better and larger.

    Raises:
        DataError: the suffix is unknown, the image has no pixels, or more than the format takes.
    """
    kind = KIND_OF_SUFFIX.get(suffix.lower())
    if kind is None or suffix.lower() not in WRITTEN_SUFFIXES:
        raise DataError(f"images cannot be written as `{suffix}`", hint="use .jpg, .png, .webp, .bmp or .tiff")
    if rgb.size == 0:
        raise DataError(f"an image of shape {rgb.shape} has no pixels to write")
    cv2 = opencv()
    options = {"jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality], "webp": [cv2.IMWRITE_WEBP_QUALITY, quality]}.get(kind, [])
    try:
        is_done, encoded = cv2.imencode(f".{kind}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    except cv2.error:
        is_done, encoded = False, b""
    if not is_done:
        height, width = rgb.shape[:2]
        raise DataError(f"{width} x {height} pixels cannot be written as `{suffix}`", hint="take another format")
    return bytes(encoded)


def write_image(path: Path, rgb: Image) -> None:
    """Write (H, W, 3) uint8 RGB to `path`, whole or not at all; the suffix of `path` chooses the format.

    Raises:
        DataError: see `encode_image`.
    """
    try:
        data = encode_image(rgb, path.suffix)
    except DataError as problem:
        raise DataError(
            f"image `{printable(path)}` cannot be written: {problem.message}", hint=problem.hint
        ) from problem
    write_bytes_atomic(path, data)


@functools.cache
def opencv() -> ModuleType:
    """OpenCV, told to allocate no more than may ever be allowed, and not to write to the console, unless the user wants
    it to: what goes wrong we say ourselves."""
    is_asked = "OPENCV_LOG_LEVEL" in os.environ
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    import cv2

    if not is_asked:  # another part of the program may have imported it before
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2  # type: ignore[no-any-return, unused-ignore]


def _check_content(data: bytes, header: ImageHeader, path: StrPath, max_pixels: int) -> list[Remark]:
    """Raise DamagedImage if the image cannot be used; return what is odd about it."""
    check_limits(data, header, max_pixels)
    if min(header.stored_hw) < MIN_SIDE_PX:
        height, width = header.size_hw
        raise DamagedImage(f"{width} x {height} pixels: both sides must have at least {MIN_SIDE_PX}")
    check_whole(data, header)
    if header.kind == "png":
        check_png_pixels(data)
    _, notes = _decode(data, header, 8)
    notes += _darkness(data, header)
    if (count := num_images(data, header)) > 1:
        notes.append(Remark(f"holds {count} images, of which the first alone is used", "more-images"))
    suffix = os.path.splitext(os.fspath(path))[1].lower()  # noqa: PTH122 - the name may be no UTF-8
    if KIND_OF_SUFFIX.get(suffix) != header.kind:
        notes.append(Remark(f"the content is {header.kind}, which `{printable(suffix)}` does not say"))
    return notes


def _decode(data: bytes, header: ImageHeader, scale: int) -> tuple[Image, list[Remark]]:
    """The pixels as stored, (H, W, 3) uint8 RGB, JPEGs at 1 / `scale` of their size; and what is odd about them."""
    if scale not in (1, 2, 4, 8):
        raise ValueError(f"scale_hint is {scale}; it must be 1, 2, 4 or 8")
    if header.jpeg is not None:
        rgb, remarks = decode_jpeg(data, header.jpeg, header.stored_hw, scale)
        _check_size(rgb, header, scale)
        return rgb, remarks
    cv2 = opencv()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(_for_opencv(data, header), np.uint8), flags)
    except cv2.error as problem:
        raise DamagedImage(f"the decoder gave up: {problem}".split("\n", 1)[0]) from problem
    if bgr is None and header.bits > 16:
        raise DamagedImage(f"its values have {header.bits} bits; at most 16 are read")
    if bgr is None:
        raise DamagedImage("the image is damaged, truncated or of an unusual kind: it cannot be decoded")
    _check_size(bgr, header, 1)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), []


def _check_size(pixels: Image, header: ImageHeader, scale: int) -> None:
    height, width = (-(-side // scale) for side in header.stored_hw)
    if pixels.shape != (height, width, 3) or pixels.dtype != np.uint8:
        raise DamagedImage(
            f"the header says {width} x {height} pixels, the image has {pixels.shape[1]} x {pixels.shape[0]}"
        )


def used_bits(data: bytes) -> int:
    """Of the 16 bits of an image, how many its largest value takes; 0 of images with 8 bits, or that cannot be read."""
    header = read_header(data)
    if header.bits != 16:
        return 0
    values = _sixteen_bits(data, header)
    return 0 if values is None else int(values.max()).bit_length()


def brightened(data: bytes, shift: int) -> bytes:
    """An image of 16 bits, stored as it is to be seen, with all values times 2 ** `shift`; others unchanged.

    Raises:
        DamagedImage: it cannot be decoded.
    """
    header = read_header(data)
    if header.bits != 16:
        return data
    cv2 = opencv()
    values = _sixteen_bits(data, header)
    is_done, encoded = (False, b"") if values is None else cv2.imencode(f".{header.kind}", values << shift)
    if not is_done:
        raise DamagedImage("it has 16 bits and cannot be written with larger values")
    return bytes(encoded)


def _sixteen_bits(data: bytes, header: ImageHeader) -> npt.NDArray[np.uint16] | None:
    """The values of an image with 16 bits, (H, W, 3) BGR as it is to be seen; None if they cannot be had."""
    cv2 = opencv()
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    values = cv2.imdecode(np.frombuffer(_for_opencv(data, header), np.uint8), flags)
    return None if values is None or values.dtype != np.uint16 else _rotated(values, header.orientation)


def _darkness(data: bytes, header: ImageHeader) -> list[Remark]:
    """A remark on an image of 16 bits that uses so few of them that little is left of it as 8 bits."""
    values = _sixteen_bits(data, header) if header.bits == 16 else None
    if values is None or values.max() >> DARK_BITS:
        return []
    largest = int(values.max())
    bits = max(largest.bit_length(), 1)
    return [Remark(f"16 bits, of which it uses {bits}: the largest of 255 becomes {largest >> 8}", "dark-image")]


def _for_opencv(data: bytes, header: ImageHeader) -> bytes:
    """A file without what OpenCV would trip over.

    Of a PNG only what makes the image: about the rest, libpng has words for the terminal. A TIFF without its
    orientation, which would be applied whatever is asked for, and not in all versions alike.
    """
    if header.kind == "png":
        return image_of_png(data)
    if header.tiff is None or header.orientation == 1:
        return data
    turned = bytearray(data)
    struct.pack_into(header.tiff.byte_order + "H", turned, header.tiff.orientation_at, 1)
    return bytes(turned)


def _rotated(image: AnyImage, orientation: int) -> AnyImage:
    """The image as it should be seen, for EXIF codes 1 to 8."""
    if orientation == 1:
        return image
    if orientation >= 5:  # stored lying on its side
        image = image.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(image[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])
