"""Images in bands have the pixels of the whole image, in every format that allows it; others are known as such."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
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
RAW = b"".join(b"\0" + row.tobytes() for row in PIXELS)  # of a PNG, unfiltered
RAW_PACKED = zlib.compress(RAW)
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
    return png_of_chunks(width, depth, colour, *palette, (b"IDAT", zlib.compress(rows)))


def png_of_chunks(width: int, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 97 rows, whose checksums are right whatever it holds."""
    header = struct.pack(">IIBBBBB", width, 97, depth, colour, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in [(b"IHDR", header), *chunks, (b"IEND", b"")]:
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
    "parts.png": png_of_chunks(61, 8, 2, (b"IDAT", RAW_PACKED[:9000]), (b"IDAT", RAW_PACKED[9000:])),
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


def tiff_of_strips(size_hw: tuple[int, int], rows_per_strip: int, num_strips: int) -> bytes:
    """An uncompressed grey TIFF that lists so many strips, all at the same place."""
    after = 8 + 64
    fields = [(256, 4, 1, size_hw[1]), (257, 4, 1, size_hw[0]), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
              (273, 4, num_strips, after), (277, 3, 1, 1), (278, 4, 1, rows_per_strip),
              (279, 4, num_strips, after + 4 * num_strips)]  # fmt: skip
    values = np.full(num_strips, 8, "<u4").tobytes() + np.full(num_strips, 64, "<u4").tobytes()
    directory = struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    return b"II*\0" + struct.pack("<I", after + len(values)) + bytes(64) + values + directory


ILL_MADE = {
    "no pixels": (png_of_chunks(61, 8, 2), "holds no pixels"),
    "empty pixels": (png_of_chunks(61, 8, 2, (b"IDAT", b"")), "a part of the image is missing"),
    "zlib header": (png_of_chunks(61, 8, 2, (b"IDAT", b"\xff" + RAW_PACKED[1:])), "cannot be unpacked"),
    "depth": (png_of_chunks(61, 40, 2, (b"IDAT", RAW_PACKED)), "40 bits"),
    "depth of grey": (png_of_chunks(61, 200, 0, (b"IDAT", RAW_PACKED)), "200 bits"),
    "less than a row": (png_of_chunks(61, 8, 2, (b"IDAT", zlib.compress(RAW[:100]))), "a part of the image is missing"),
    "one row": (png_of_chunks(61, 8, 2, (b"IDAT", zlib.compress(RAW[:184]))), "a part of the image is missing"),
    "filter": (png_of_chunks(61, 8, 2, (b"IDAT", zlib.compress(b"\x09" + RAW[1:]))), "a filter that does not exist"),
    "height": (tiff_of_strips((1 << 27, 1), 8, 8), "no side may have more than 1,048,576"),
}


@pytest.mark.parametrize("name", ILL_MADE)
def test_an_image_that_is_ill_made_is_a_data_error(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, words = ILL_MADE[name]
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(DataError, match=f"image` cannot be used: .*{words}"):
        banded_image(tmp_path / "image", 97 * 61 - 1)
    assert capfd.readouterr().err == ""


def test_strips_that_a_tiff_lists_and_does_not_need_take_no_memory(tmp_path: Path) -> None:
    (tmp_path / "image.tif").write_bytes(tiff_of_strips((8000, 4), 8000, 5000))
    tracemalloc.start()
    try:
        bands = list(BandedImage(tmp_path / "image.tif", (8000, 4), 4 * 100).bands())
        assert tracemalloc.get_traced_memory()[1] < 20 << 20  # 320 MB for the places of all rows
    finally:
        tracemalloc.stop()
    assert sum(map(len, bands)) == 8000


@pytest.mark.parametrize("size", [0, 200])
@pytest.mark.parametrize("name", ["rgb.bmp", "parts.png", "lzw.tif", "none.tif"])
def test_a_file_that_becomes_shorter_while_it_is_read_is_a_data_error(name: str, size: int, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(IN_BANDS[name])
    bands = BandedImage(path, (97, 61), 61 * 16).bands()
    next(bands)
    os.truncate(path, size)
    with pytest.raises(DataError, match=f"{name}` became shorter while it was read"):
        list(bands)


@pytest.mark.parametrize("name", ILL_MADE)
def test_an_image_that_is_ill_made_since_its_check_is_a_data_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(ILL_MADE[name][0])
    with pytest.raises(DataError, match="image` cannot be used: "):
        list(BandedImage(tmp_path / "image", (97, 61), 61 * 16).bands())


def test_an_image_with_another_size_since_its_check_is_a_data_error(tmp_path: Path) -> None:
    for name, size_hw in (("rgb.bmp", (97, 62)), ("rgb.bmp", (96, 61)), ("rgb.jpg", (97, 61))):
        (tmp_path / name).write_bytes((IN_BANDS | WHOLE)[name])
        with pytest.raises(DataError, match="changed while it was in use"):
            next(BandedImage(tmp_path / name, size_hw, 61 * 16).bands())


@pytest.mark.parametrize("smaller_hw", [(97, 61), (48, 30), (24, 15), (13, 9), (1, 1)], ids=str)
def test_the_average_of_bands_is_that_of_the_whole_image(smaller_hw: tuple[int, int]) -> None:
    for rows in (1, 7, 97):
        average = BandAverage((97, 61), smaller_hw)
        for top in range(0, 97, rows):
            average.add(PIXELS[top : top + rows])
        whole = cv2.resize(PIXELS, smaller_hw[::-1], interpolation=cv2.INTER_AREA)
        difference = np.abs(average.pixels().astype(int) - whole)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.002
