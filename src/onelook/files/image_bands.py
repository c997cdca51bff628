"""Images larger than memory should hold, from top to bottom in bands of rows.

Each band becomes a small image file of its own, which the usual decoder reads: it has the very pixels that the whole
image would have. BMP and TIFF are cut as they are; of a PNG, the rows are unpacked and packed again.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from onelook.errors import DataError
from onelook.files.bounded import mapped, printable
from onelook.files.image_headers import (
    MOST_PIXELS,
    PNG_CHANNELS,
    PNG_SIGNATURE,
    DamagedImage,
    ImageHeader,
    check_png_pixels,
    check_whole,
    png_chunks,
    read_header,
)
from onelook.files.images import decode_image, max_file_bytes, stored_values
from onelook.files.jpeg import Image
from onelook.files.tiff_bands import tiff_bands

BAND_BYTES = 1 << 22
"""Approximate size of a band of 8-bit RGB."""
_PACKED_BYTES = 1 << 16
_BMP_HEADER_BYTES = 1 << 16
_PNG_INTERLACING_AT = 28
_MOST_SIDE = 1 << 20
"""Longest side of an image, pixels: the decoder refuses more."""
_PNG_LIKE = {1: (8, 0), 2: (16, 0), 3: (8, 2), 4: (8, 6), 6: (16, 2), 8: (16, 6)}
"""Bits and type of colour of a PNG without palette, by the bytes of a pixel, on which filters depend."""


@dataclass(frozen=True)
class BandedImage:
    """An image file that is decoded in bands.

    Attributes:
        size_hw: height and width, pixels.
    """

    path: Path
    size_hw: tuple[int, int]
    max_pixels: int

    def bands(self) -> Iterator[Image]:
        """The image from top to bottom: bands of some rows, (rows, W, 3) uint8 RGB.

        Raises:
            DataError: a part is missing or damaged, or the file changed since `banded_image` checked it.
        """
        file = mapped(self.path, max_file_bytes(MOST_PIXELS))
        missing = self.size_hw[0]
        try:
            header = read_header(_as_bytes(file))
            if header.size_hw != self.size_hw or header.kind not in _CUTTERS:
                raise DamagedImage("it changed while it was in use")
            for part in _cut(_as_bytes(file), header, self.max_pixels):
                rows = decode_image(part, is_checked=True, max_pixels=self.max_pixels)
                missing -= len(rows)
                if missing < 0:
                    raise DamagedImage("it holds more rows than its header says")
                yield rows
                _drop_pages(file)
            if missing:
                raise DamagedImage(f"{missing} of its rows are missing")
        except (DamagedImage, struct.error, zlib.error) as problem:
            raise DataError(f"image `{printable(self.path)}` cannot be used: {problem}") from problem


def banded_image(path: Path, max_pixels: int) -> BandedImage | None:
    """An image that has more than `max_pixels` and can be decoded in bands; this is done once, to see that it is whole.

    None if there is no such image: it is smaller, a JPEG, a WebP, an interlaced PNG, compressed as one piece, or turned
    by its orientation.

    Raises:
        DataError: a part is missing or damaged.
    """
    try:
        file = mapped(path, max_file_bytes(MOST_PIXELS))
        data = _as_bytes(file)
        header = read_header(data)
    except (DataError, DamagedImage):
        return None  # why, those say who read it as a whole
    height, width = header.size_hw
    is_interlaced = header.kind == "png" and data[_PNG_INTERLACING_AT]
    if not max_pixels < height * width <= MOST_PIXELS or header.orientation != 1:
        return None
    if header.kind not in _CUTTERS or is_interlaced:
        return None
    try:
        _check(data, header)
        _drop_pages(file)
    except DamagedImage as problem:
        raise DataError(f"image `{printable(path)}` cannot be used: {problem}") from problem
    try:
        first = read_header(next(_cut(data, header, max_pixels), b""))
    except (DamagedImage, struct.error, zlib.error):
        return None
    if first.size_hw[0] * width > max_pixels:
        return None
    image = BandedImage(path, header.size_hw, max_pixels)
    for _ in image.bands():
        pass
    return image


def _check(data: bytes, header: ImageHeader) -> None:
    """Raise DamagedImage unless all parts of the file are there, and the pixels of a PNG."""
    if max(header.size_hw) > _MOST_SIDE:
        height, width = header.size_hw
        raise DamagedImage(f"{width} x {height} pixels: no side may have more than {_MOST_SIDE:,}")
    check_whole(data, header)
    if header.kind == "png":
        check_png_pixels(data)


def _as_bytes(file: mmap.mmap) -> bytes:
    """A mapped file, which is sliced and unpacked as bytes are."""
    return cast("bytes", file)


def _drop_pages(file: mmap.mmap) -> None:
    """Keep no part of a file in memory that has been read, where the system allows to ask for this."""
    if hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)


def _cut(data: bytes, header: ImageHeader, max_pixels: int) -> Iterator[bytes]:
    """Small image files that stacked give the image in `data`: each about `BAND_BYTES` once decoded, or as large as a
    strip or a row of tiles."""
    num_rows = max(1, min(BAND_BYTES // 3, max_pixels) // header.size_hw[1])
    return _CUTTERS[header.kind](data, num_rows)


def _bmp_bands(data: bytes, num_rows: int) -> Iterator[bytes]:
    pixels_at, header_size = struct.unpack_from("<II", data, 10)
    is_old = header_size == 12
    width, height = struct.unpack_from("<HH" if is_old else "<ii", data, 18)
    bits, compression = struct.unpack_from("<HI", data, 24 if is_old else 28)
    if not (is_old or compression in (0, 3)) or pixels_at > _BMP_HEADER_BYTES:
        raise DamagedImage("the BMP is not stored in rows")
    row_bytes = (width * bits + 31) // 32 * 4
    for top in range(0, abs(height), num_rows):
        size = min(num_rows, abs(height) - top)
        at = pixels_at + (top if height < 0 else height - top - size) * row_bytes  # the lowest row comes first
        head = bytearray(data[:pixels_at])
        struct.pack_into("<H" if is_old else "<i", head, 20 if is_old else 22, -size if height < 0 else size)
        yield bytes(head) + data[at : at + size * row_bytes]


def _png_bands(data: bytes, num_rows: int) -> Iterator[bytes]:
    width, _, depth, colour, interlaced = struct.unpack_from(">IIBBxxB", data, len(PNG_SIGNATURE) + 8)
    if interlaced:
        raise DamagedImage("the PNG is not stored row by row")
    bits = depth * PNG_CHANNELS.get(colour, 1)
    row_bytes, pixel_bytes = -(-width * bits // 8), max(1, bits // 8)
    if pixel_bytes not in _PNG_LIKE:
        raise DamagedImage(f"the PNG header makes no sense: {depth} bits, colours {colour}")
    palettes = [data[start : start + length] for name, start, length in png_chunks(data) if name == b"PLTE"]
    above = bytes(row_bytes)
    for rows in _unpacked(data, num_rows * (1 + row_bytes)):
        if len(rows) % (1 + row_bytes):
            raise DamagedImage("the PNG is truncated: a part of the image is missing")
        # Filters refer to the row above: it goes first, unfiltered.
        filtered = bytes(1) + above + rows
        like_depth, like_colour = _PNG_LIKE[pixel_bytes]
        size_wh = (row_bytes // pixel_bytes, len(filtered) // (1 + row_bytes))
        values = stored_values(_png_of(size_wh, like_depth, like_colour, filtered))
        plain = values.astype(values.dtype.newbyteorder(">")).view(np.uint8).reshape(size_wh[1], row_bytes)[1:]
        above = plain[-1].tobytes()
        without_filters = np.pad(plain, ((0, 0), (1, 0))).tobytes()
        yield _png_of((width, len(plain)), depth, colour, without_filters, *palettes)


def _unpacked(data: bytes, num_bytes: int) -> Iterator[bytes]:
    """The rows of a PNG with their filters, so many bytes at a time."""
    inflater, got = zlib.decompressobj(), bytearray()
    for name, start, length in png_chunks(data):
        for at in range(start, start + length if name == b"IDAT" else start, _PACKED_BYTES):
            packed = data[at : min(at + _PACKED_BYTES, start + length)]
            while packed:
                got += inflater.decompress(packed, num_bytes - len(got))
                packed = inflater.unconsumed_tail
                if len(got) == num_bytes:
                    yield bytes(got)
                    got.clear()
    got += inflater.flush()
    yield from (bytes(got[at : at + num_bytes]) for at in range(0, len(got), num_bytes))


def _png_of(size_wh: tuple[int, int], depth: int, colour: int, rows: bytes, *palettes: bytes) -> bytes:
    """A PNG of rows that begin with their filters."""
    header = struct.pack(">IIBBBBB", *size_wh, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *((b"PLTE", palette) for palette in palettes), (b"IDAT", zlib.compress(rows, 0))]
    parts = [PNG_SIGNATURE]
    for name, content in [*chunks, (b"IEND", b"")]:
        parts += [struct.pack(">I", len(content)), name, content]
        parts.append(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))
    return b"".join(parts)


_CUTTERS: dict[str, Callable[..., Iterator[bytes]]] = {"bmp": _bmp_bands, "png": _png_bands, "tiff": tiff_bands}
