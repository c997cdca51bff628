"""Sixteen kinds of image files, cut and changed: no crash, no long wait, nothing on the terminal, no wrong pixels."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from onelook.files.image_headers import DamagedImage
from onelook.files.images import decode_image

SECONDS = 2.0
HEIGHT, WIDTH = 40, 56
# name -> Pillow's format, mode, options
KINDS: dict[str, tuple[str, str, dict[str, object]]] = {
    "JPEG": ("JPEG", "RGB", {}),
    "JPEG, progressive": ("JPEG", "RGB", {"progressive": True}),
    "JPEG, grey": ("JPEG", "L", {}),
    "JPEG, CMYK": ("JPEG", "CMYK", {"subsampling": 0}),
    "PNG": ("PNG", "RGB", {}),
    "PNG, palette": ("PNG", "P", {}),
    "PNG, alpha": ("PNG", "RGBA", {}),
    "PNG, 16 bits": ("PNG", "I;16", {}),
    "WebP": ("WEBP", "RGB", {"quality": 80}),
    "WebP, lossless": ("WEBP", "RGB", {"lossless": True}),
    "WebP, alpha": ("WEBP", "RGBA", {"quality": 80}),
    "TIFF": ("TIFF", "RGB", {}),
    "TIFF, LZW": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    "TIFF, deflate": ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    "BMP": ("BMP", "RGB", {}),
    "BMP, palette": ("BMP", "P", {}),
}
# These have a checksum over their pixels: a change cannot go unnoticed.
CHECKED = {kind for kind in KINDS if kind.startswith("PNG")}
# What programs put behind half a file, where the format shows that it does not belong there.
ENDINGS = {"JPEG": (b"\xff\xd9", bytes(9999)), "PNG": (b"\0\0\0\0IEND\xaeB`\x82", bytes(9999))}


def encoded(kind: str) -> bytes:
    kind_of_file, mode, options = KINDS[kind]
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rng = np.random.Generator(np.random.Philox(key=1))
    noise = rng.integers(0, 40, (HEIGHT, WIDTH))
    channels = [4 * x + noise, 5 * y + noise, 90 + noise]
    image = Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8))
    grey = Image.fromarray((channels[0] * 200).astype(np.uint16))
    image = grey if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind_of_file, **options)
    return buffer.getvalue()


def pixels_of(data: bytes) -> np.ndarray | None:
    """What is read, within the time that is allowed; None if it is refused."""
    begin = time.process_time()
    try:
        return decode_image(data)
    except DamagedImage:
        return None
    finally:
        assert time.process_time() - begin < SECONDS


def require_sound_truncations(kind: str, step: int) -> None:
    data = encoded(kind)
    whole = pixels_of(data)
    assert whole is not None
    for stop in range(0, len(data), step):
        for ending in (b"", *ENDINGS.get(KINDS[kind][0], ())):
            pixels = pixels_of(data[:stop] + ending)
            assert pixels is None or np.array_equal(pixels, whole), (stop, ending)


def require_sound_changes(kind: str, count: int) -> None:
    data = encoded(kind)
    whole = pixels_of(data)
    rng = np.random.Generator(np.random.Philox(key=2))
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(int(rng.integers(1, 5))):
            place = int(rng.random() ** 2 * len(data))  # rather in the header
            changed[place] = int(rng.integers(256))
        pixels = pixels_of(bytes(changed))
        if pixels is not None and kind in CHECKED:
            assert np.array_equal(pixels, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_files_are_refused_unless_all_pixels_are_there(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    require_sound_truncations(kind, step=97)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", KINDS)
def test_changed_files_are_refused_or_read_in_time(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    require_sound_changes(kind, count=100)
    assert capfd.readouterr() == ("", "")


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


ROWS = b"".join(b"\0" + bytes(90) for _ in range(20))
FORGED = {
    "too few": zlib.compress(ROWS[:500]),
    "too many": zlib.compress(ROWS + bytes(1000)),
    "cut": zlib.compress(ROWS)[:-6],
    "checksum": zlib.compress(ROWS)[:-4] + b"abcd",
    "filter": zlib.compress(ROWS[:910] + b"\x09" + ROWS[911:]),
    "trailing": zlib.compress(ROWS) + b"junk" * 9,
    "no stream": b"abc",
}


@pytest.mark.parametrize("kind", FORGED)
def test_png_whose_checksums_fit_but_whose_pixels_do_not_is_refused(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30, 20, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", FORGED[kind]) + chunk(b"IEND", b"")
    with pytest.raises(DamagedImage, match="the PNG is"):
        decode_image(data)
    assert capfd.readouterr() == ("", "")


def test_interlaced_png_is_read(capfd: pytest.CaptureFixture[str]) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 5, 8, 2, 0, 0, 1))
    # of 4 x 5 pixels, the rows of passes 1, 3, 4, 5, 6 and 7; pass 2 has none
    pixels_in_rows = (1, 1, 1, 1, 2, 2, 2, 2, 4, 4)
    rows = [b"\0" + bytes([10, 20, 30]) * count for count in pixels_in_rows]
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    assert (decode_image(data) == [10, 20, 30]).all() and decode_image(data).shape == (5, 4, 3)
    assert capfd.readouterr() == ("", "")


def test_png_is_read_without_what_libpng_would_comment_on(capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded("PNG")
    odd = chunk(b"gAMA", bytes(4)) * 2 + chunk(b"iCCP", b"junk") + chunk(b"tIME", b"\xff" * 7) + chunk(b"bKGD", b"")
    assert np.array_equal(decode_image(data[:33] + odd + data[33:]), decode_image(data))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_cut_and_changed_files_are_refused_or_sound(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    require_sound_truncations(kind, step=7)
    require_sound_changes(kind, count=700)
    assert capfd.readouterr() == ("", "")
