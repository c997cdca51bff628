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


def made_png(depth: int, colour: int, *chunks: tuple[bytes, bytes], methods: bytes = bytes(3)) -> bytes:
    """8 x 4 pixels; the chunks between the header and the end are those of the image unless others are given."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    pixels = zlib.compress(bytes(1 + bits) * 4)
    header = struct.pack(">IIBB", 8, 4, depth, colour) + methods
    named = [(name, pixels if content == b"pixels" else content) for name, content in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in [(b"IHDR", header), *named])


PALETTE, PIXELS, END = (b"PLTE", bytes(range(48))), (b"IDAT", b"pixels"), (b"IEND", b"")
WELL_MADE = {
    **{
        f"{depth} bits, colours {colour}": made_png(depth, colour, PALETTE, PIXELS, END)
        for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (4, 8), 4: (8, 16), 6: (8, 16)}.items()
        for depth in depths
    },
    "no palette needed": made_png(8, 2, PIXELS, END),
    "odd palette not needed": made_png(8, 0, (b"PLTE", b"x"), PIXELS, END),
    "end with content": made_png(8, 2, PIXELS, (b"IEND", b"abc")),
}
ILL_MADE = {
    **{
        f"{depth} bits, colours {colour}": made_png(depth, colour, PALETTE, PIXELS, END)
        for colour, depth in [(0, 3), (0, 24), (1, 8), (2, 4), (3, 16), (4, 4), (5, 8), (6, 2), (7, 8)]
    },
    "no palette": made_png(8, 3, PIXELS, END),
    "palette late": made_png(8, 3, PIXELS, PALETTE, END),
    "palette twice": made_png(8, 3, PALETTE, PALETTE, PIXELS, END),
    "palette of 47 bytes": made_png(8, 3, (b"PLTE", bytes(47)), PIXELS, END),
    "palette of 300 colours": made_png(8, 3, (b"PLTE", bytes(900)), PIXELS, END),
    "empty palette": made_png(8, 3, (b"PLTE", b""), PIXELS, END),
    "header twice": made_png(8, 2, (b"IHDR", struct.pack(">IIBBBBB", 8, 4, 8, 2, 0, 0, 0)), PIXELS, END),
    "compression": made_png(8, 2, PIXELS, END, methods=b"\1\0\0"),
    "filter": made_png(8, 2, PIXELS, END, methods=b"\0\x40\0"),
    "interlacing": made_png(8, 2, PIXELS, END, methods=b"\0\0\2"),
}


@pytest.mark.parametrize("kind", WELL_MADE)
def test_well_made_png_is_read_quietly(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert decode_image(WELL_MADE[kind]).shape == (4, 8, 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ILL_MADE)
def test_ill_made_png_is_refused_before_libpng_has_words_for_it(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DamagedImage, match="PNG"):
        decode_image(ILL_MADE[kind])
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_cut_and_changed_files_are_refused_or_sound(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    require_sound_truncations(kind, step=7)
    require_sound_changes(kind, count=700)
    assert capfd.readouterr() == ("", "")
