"""Images in bands have the pixels of the whole image, in every format that allows it; others are known as such."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from onelook.data.augment.resize import BandAverage
from onelook.errors import DataError
from onelook.files.image_bands import BandedImage, banded_image
from onelook.files.images import read_image

PIXELS = np.random.Generator(np.random.Philox(key=1)).integers(0, 256, (97, 61, 3), np.uint8)
PIXELS[20:60] //= 16  # rows that suit other filters
GREY, DEEP = PIXELS[..., 0], PIXELS.astype(np.uint16) * 257 + 3


def by_pillow(kind: str, mode: str, **options: object) -> bytes:
    file = io.BytesIO()
    given = np.concatenate([PIXELS, GREY[..., None]], axis=2) if mode in ("RGBA", "CMYK") else PIXELS
    image = Pillow.fromarray(given, mode if mode in ("RGBA", "CMYK") else "RGB")
    image = image.quantize(7) if mode == "P" else image.convert(mode)
    image.save(file, kind, **options)
    return file.getvalue()


def by_opencv(suffix: str, pixels: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def png_with_filters(depth: int, colour: int, row_bytes: int, pixel_bytes: int) -> bytes:
    """A PNG whose rows use all five filters in turn."""
    values = np.random.Generator(np.random.Philox(key=2)).integers(0, 256, (97, row_bytes), np.uint8)
    rows = b"".join(bytes([number % 5]) + row.tobytes() for number, row in enumerate(values))
    width = {1: row_bytes * 8 // depth, 2: row_bytes // 2}.get(pixel_bytes, row_bytes // pixel_bytes)
    palette = [(b"PLTE", bytes(range(48)))] if colour == 3 else []
    header = struct.pack(">IIBBBBB", width, 97, depth, colour, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in [(b"IHDR", header), *palette, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]:
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data


def big_endian_tiff() -> bytes:
    """16 bits, one strip of all rows, values at the end."""
    pixels = DEEP.astype(">u2").tobytes()
    fields = [(256, 3, 1, 61 << 16), (257, 3, 1, 97 << 16), (258, 3, 3, 8 + len(pixels)), (259, 3, 1, 1 << 16),
              (262, 3, 1, 2 << 16), (273, 4, 1, 8), (277, 3, 1, 3 << 16), (279, 4, 1, len(pixels))]  # fmt: skip
    directory = struct.pack(">H", len(fields)) + b"".join(struct.pack(">HHII", *field) for field in fields) + bytes(4)
    return b"MM\0*" + struct.pack(">I", 14 + len(pixels)) + pixels + struct.pack(">HHH", 16, 16, 16) + directory


def tiled_tiff() -> bytes:
    """Deflated tiles of 32 x 16 pixels."""
    padded = np.pad(PIXELS, ((0, 15), (0, 3), (0, 0)))
    tiles = [zlib.compress(padded[y : y + 16, x : x + 32].tobytes()) for y in range(0, 112, 16) for x in (0, 32)]
    lengths = [len(tile) for tile in tiles]
    starts = (8 + np.cumsum([0, *lengths])).tolist()
    after = starts.pop()
    fields = [(256, 3, 1, 61), (257, 3, 1, 97), (258, 3, 3, after), (259, 3, 1, 8), (262, 3, 1, 2), (277, 3, 1, 3),
              (322, 3, 1, 32), (323, 3, 1, 16), (324, 4, 14, after + 6), (325, 4, 14, after + 62)]  # fmt: skip
    values = struct.pack("<3H28I", 8, 8, 8, *starts, *lengths)
    directory = struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    return b"II*\0" + struct.pack("<I", after + len(values)) + b"".join(tiles) + values + directory


TIFF_STRIPS = (cv2.IMWRITE_TIFF_ROWSPERSTRIP, 8, cv2.IMWRITE_TIFF_COMPRESSION)
IN_BANDS = {
    "rgb.bmp": by_opencv(".bmp", PIXELS), "palette.bmp": by_pillow("BMP", "P"), "bits.bmp": by_pillow("BMP", "1"),
    "alpha.bmp": by_pillow("BMP", "RGBA"),
    "rgb.png": by_pillow("PNG", "RGB"), "grey.png": by_pillow("PNG", "L"), "palette.png": by_pillow("PNG", "P"),
    "bits.png": by_pillow("PNG", "1"), "alpha.png": by_pillow("PNG", "RGBA"), "grey_alpha.png": by_pillow("PNG", "LA"),
    "deep.png": by_opencv(".png", DEEP), "deep_grey.png": by_opencv(".png", DEEP[..., 0]),
    "filters1.png": png_with_filters(1, 0, 9, 1), "filters4.png": png_with_filters(4, 3, 31, 1),
    "filters8.png": png_with_filters(8, 2, 183, 3), "filters16.png": png_with_filters(16, 6, 488, 8),
    "filters_la.png": png_with_filters(8, 4, 122, 2), "filters_la16.png": png_with_filters(16, 4, 244, 4),
    "none.tif": by_opencv(".tif", PIXELS, *TIFF_STRIPS, 1), "lzw.tif": by_opencv(".tif", PIXELS, *TIFF_STRIPS, 5),
    "zip.tif": by_opencv(".tif", PIXELS, *TIFF_STRIPS, 8), "deep.tif": by_opencv(".tif", DEEP, *TIFF_STRIPS, 5),
    "jpeg.tif": by_opencv(".tif", PIXELS, *TIFF_STRIPS, 7), "one_strip.tif": big_endian_tiff(),
    "grey.tif": by_pillow("TIFF", "L"), "palette.tif": by_pillow("TIFF", "P"), "bits.tif": by_pillow("TIFF", "1"),
    "tiles.tif": tiled_tiff(),
    "big.tif": by_pillow("TIFF", "RGB", big_tiff=True),
}  # fmt: skip
WHOLE = {
    "interlaced.png": by_pillow("PNG", "RGB") [:28] + b"\1" + by_pillow("PNG", "RGB")[29:],
    "rgb.jpg": by_pillow("JPEG", "RGB"), "rgb.webp": by_pillow("WEBP", "RGB"),
    "turned.tif": by_pillow("TIFF", "RGB", tiffinfo={274: 6}),
    "one_strip_lzw.tif": by_pillow("TIFF", "RGB", tiffinfo={278: 97}, compression="tiff_lzw"),
    "text.png": b"no image",
}  # fmt: skip


@pytest.mark.parametrize("name", IN_BANDS)
def test_bands_are_the_rows_of_the_image(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(IN_BANDS[name])
    whole = read_image(path)
    height, width = whole.shape[:2]
    image = banded_image(path, height * width - 1)
    assert image is not None and image.size_hw == (height, width)
    for max_pixels in (width * 16, width * 24):
        bands = list(BandedImage(path, (height, width), max_pixels).bands())
        assert len(bands) > 3 and all(band.shape[0] * width <= max_pixels for band in bands)
        np.testing.assert_array_equal(np.concatenate(bands), whole)


@pytest.mark.parametrize("name", WHOLE)
def test_what_cannot_be_read_in_bands_is_known_as_such(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(WHOLE[name])
    assert banded_image(path, 97 * 61 - 1) is None


def test_an_image_within_the_limit_is_read_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "rgb.png").write_bytes(IN_BANDS["rgb.png"])
    assert banded_image(tmp_path / "rgb.png", 97 * 61) is None


@pytest.mark.parametrize("name", ["rgb.bmp", "rgb.png", "deep.png", "lzw.tif", "none.tif", "jpeg.tif", "tiles.tif"])
def test_an_image_that_is_cut_or_damaged_is_never_taken_for_whole(name: str, tmp_path: Path) -> None:
    """Cut at some place, it is refused in bands if it is refused as a whole; bits that changed, likewise."""
    data, path = IN_BANDS[name], tmp_path / name
    changed = bytearray(data)
    changed[len(data) * 2 // 3 : len(data) * 2 // 3 + 40] = bytes(40)
    for other in [data[: len(data) * part // 9] for part in range(1, 9)] + [bytes(changed)]:
        path.write_bytes(other)
        try:
            whole = read_image(path)
        except DataError:
            whole = None
        try:
            image = banded_image(path, 97 * 61 - 1)
        except DataError:
            continue
        if image is not None:
            np.testing.assert_array_equal(np.concatenate(list(image.bands())), whole)


@pytest.mark.parametrize("smaller_hw", [(97, 61), (48, 30), (24, 15), (13, 9), (1, 1)], ids=str)
def test_the_average_of_bands_is_that_of_the_whole_image(smaller_hw: tuple[int, int]) -> None:
    for rows in (1, 7, 97):
        average = BandAverage((97, 61), smaller_hw)
        for top in range(0, 97, rows):
            average.add(PIXELS[top : top + rows])
        whole = cv2.resize(PIXELS, smaller_hw[::-1], interpolation=cv2.INTER_AREA)
        difference = np.abs(average.pixels().astype(int) - whole)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.002
