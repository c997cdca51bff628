"""Reading, checking and writing images; the independent decoder is Pillow."""

from __future__ import annotations

import io
import os
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from onelook.errors import DataError
from onelook.files.image_headers import DamagedImage
from onelook.files.images import check_image, decode_image, encode_image, read_image, write_image

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP"}


def sample_image(height: int = 53, width: int = 74) -> Image.Image:
    """A smooth image without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [255 * x / width, 255 * y / height, 127 + 127 * np.sin(x / 9 + y * y / 400)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or sample_image()).save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def noisy_jpeg(**options: object) -> bytes:
    pixels = np.random.Generator(np.random.Philox(key=3)).integers(0, 255, (90, 120, 3), np.uint8)
    return encoded("JPEG", Image.fromarray(pixels), quality=80, **options)


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_read_as_another_decoder_reads_it(tmp_path: Path, suffix: str) -> None:
    path = put(tmp_path, f"a.{suffix}", encoded(FORMATS[suffix]))
    image = read_image(path)
    expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert np.abs(image - expected).mean() <= 1
    report = check_image(path)
    assert (report.size_hw, report.problem, report.notes) == ((53, 74), None, ())


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("code", range(1, 9))
def test_all_eight_exif_rotations_are_applied(tmp_path: Path, suffix: str, code: int) -> None:
    exif = Image.Exif()
    exif[274] = code
    options = {"lossless": True} if suffix == "webp" else {}
    path = put(tmp_path, f"a.{suffix}", encoded(FORMATS[suffix], exif=exif, **options))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
    image = read_image(path)
    assert image.shape == expected.shape
    assert np.abs(image - expected).mean() <= 1
    assert check_image(path).size_hw == expected.shape[:2]


MODES = [("L", "png"), ("LA", "png"), ("RGBA", "png"), ("P", "png"), ("1", "png"), ("L", "jpg"), ("CMYK", "jpg"),
         ("RGBA", "webp"), ("P", "bmp"), ("1", "bmp"), ("L", "tif"), ("RGBA", "tif"), ("CMYK", "tif")]  # fmt: skip


@pytest.mark.parametrize(("mode", "suffix"), MODES)
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    path = put(tmp_path, f"a.{suffix}", encoded(FORMATS[suffix], sample_image().convert(mode)))
    expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
    image = read_image(path)
    assert image.shape == (53, 74, 3)
    assert np.abs(image - expected).mean() <= 2
    assert check_image(path).problem is None


def png_of(height: int, width: int, pixels: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.arange(20 * 30 * 3, dtype=np.uint16).reshape(20, 30, 3) * 36
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path = put(tmp_path, "a.png", png_of(20, 30, zlib.compress(rows), depth=16))
    assert np.abs(read_image(path) - values / 257).max() <= 1


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_jpeg_comes_at_the_reduced_size_asked_for(tmp_path: Path, scale: int) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = put(tmp_path, "a.jpg", encoded("JPEG", sample_image(203, 301), exif=exif))
    assert read_image(path, scale_hint=scale).shape == (-(-301 // scale), -(-203 // scale), 3)
    other = put(tmp_path, "a.png", encoded("PNG"))
    assert read_image(other, scale_hint=scale).shape == (53, 74, 3)


def test_reduced_jpeg_shows_the_same_image(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jpg", encoded("JPEG", sample_image(160, 240), quality=95))
    full = read_image(path).astype(float)
    means = full.reshape(40, 4, 60, 4, 3).mean(axis=(1, 3))
    assert np.abs(read_image(path, scale_hint=4) - means).mean() < 3


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_without_end_marker_is_used_with_a_note(tmp_path: Path, progressive: bool) -> None:
    whole = noisy_jpeg(progressive=progressive)
    path = put(tmp_path, "a.jpg", whole[:-2])
    report = check_image(path)
    assert report.problem is None
    assert "end marker" in report.notes[0].text
    assert np.array_equal(read_image(path), read_image(put(tmp_path, "b.jpg", whole)))


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_jpeg_is_refused(tmp_path: Path, part: float, progressive: bool) -> None:
    data = noisy_jpeg(progressive=progressive)
    path = put(tmp_path, "half.jpg", data[: int(len(data) * part)])
    assert check_image(path).problem
    with pytest.raises(DataError, match=r"half\.jpg"):
        read_image(path)


def test_end_marker_of_an_embedded_preview_does_not_hide_a_truncation(tmp_path: Path) -> None:
    whole = noisy_jpeg()
    preview = noisy_jpeg()[:4000] + b"\xff\xd9"
    data = whole[:2] + b"\xff\xe2" + struct.pack(">H", len(preview) + 2) + preview + whole[2:]
    assert check_image(put(tmp_path, "whole.jpg", data)).problem is None
    assert "truncated" in str(check_image(put(tmp_path, "half.jpg", data[: len(data) - len(whole) // 2])).problem)


def test_bytes_behind_the_end_do_no_harm(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jpg", noisy_jpeg() + b"\xff\xd8 a second image")
    assert check_image(path).problem is None
    assert read_image(path).shape == (90, 120, 3)


def damaged(suffix: str) -> dict[str, bytes]:
    """Ten ways to break a file of a format."""
    data = encoded(FORMATS[suffix])
    middle = len(data) // 2
    return {
        "empty": b"",
        "one byte": data[:1],
        "signature only": data[:8],
        "header cut": data[:20],
        "a third": data[: len(data) // 3],
        "a half": data[:middle],
        "nearly all": data[: int(len(data) * 0.97)],
        "zeros": bytes(len(data)),
        "header zeroed": data[:8] + bytes(60) + data[68:],
        "text": b"this is no image at all, it is text\n" * 10,
    }


@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_files_are_named_and_never_changed(tmp_path: Path, suffix: str) -> None:
    for name, data in damaged(suffix).items():
        path = put(tmp_path, f"{name}.{suffix}", data)
        before = path.stat().st_mtime_ns
        report = check_image(path)
        assert report.problem, name
        with pytest.raises(DataError) as error:
            read_image(path)
        assert path.name in str(error.value)
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (data, before)


@given(
    suffix=st.sampled_from(list(FORMATS)),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255))),
    cut=st.floats(0, 1),
)
@settings(max_examples=50)
def test_any_damage_is_either_harmless_or_told(suffix: str, edits: list[tuple[float, int]], cut: float) -> None:
    data = bytearray(encoded(FORMATS[suffix], sample_image(12, 14)))
    for place, value in edits:
        data[int(place**3 * len(data))] = value  # mostly in the header
    try:
        image = decode_image(bytes(data[: int(len(data) * (1 - cut**4))]))
    except DamagedImage as problem:
        assert str(problem)
    else:
        assert image.dtype == np.uint8
        assert image.shape[2] == 3


def test_flipped_bit_in_png_is_noticed(tmp_path: Path) -> None:
    data = bytearray(encoded("PNG"))
    data[len(data) // 2] ^= 0x10
    assert "checksum" in str(check_image(put(tmp_path, "a.png", bytes(data))).problem)


def test_forged_png_length_is_refused_at_once(tmp_path: Path) -> None:
    data = bytearray(encoded("PNG"))
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = struct.pack(">I", 0x7FFFFFFF)
    path = put(tmp_path, "a.png", bytes(data))
    begin = time.process_time()
    assert check_image(path).problem
    with pytest.raises(DataError):
        read_image(path)
    assert time.process_time() - begin < 0.05


@pytest.mark.parametrize(("side", "word"), [(20_000, "limit"), (9_000, "truncated")])
def test_forged_images_are_refused_at_once(tmp_path: Path, side: int, word: str) -> None:
    squeezed = zlib.compress(bytes(1_000_000))
    path = put(tmp_path, "a.png", png_of(side, side, squeezed))
    begin = time.process_time()
    assert word in str(check_image(path).problem)
    assert time.process_time() - begin < 0.3


def test_a_plan_of_48_megapixels_in_17_kilobytes_is_an_image_like_any_other(tmp_path: Path) -> None:
    plan = Image.new("1", (8000, 6000), 1)
    plan.paste(0, (100, 200, 5000, 210))
    path = put(tmp_path, "a.png", encoded("PNG", plan))
    assert path.stat().st_size < 30_000
    assert check_image(path).problem is None
    pixels = read_image(path)
    assert (pixels.shape, pixels[205, 100:5000].any(), pixels[205, 5000:].all()) == ((6000, 8000, 3), False, True)


def test_the_limit_of_pixels_is_the_callers_and_the_message_names_it(tmp_path: Path) -> None:
    path = put(tmp_path, "a.png", encoded("PNG"))
    for refused in (
        lambda: read_image(path, max_pixels=3921),
        lambda: decode_image(path.read_bytes(), max_pixels=3921),
    ):
        with pytest.raises((DataError, DamagedImage), match="limit of 3,921: `--max-pixels 3922` would allow them"):
            refused()
    assert check_image(path, max_pixels=3921).problem is not None
    assert check_image(path, max_pixels=3922).problem is None and read_image(path, max_pixels=3922).shape[0] == 53


def test_jpeg_of_few_bytes_for_many_pixels_is_refused_at_once(tmp_path: Path) -> None:
    data = bytearray(encoded("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 5000, 9000)
    path = put(tmp_path, "a.jpg", bytes(data))
    begin = time.process_time()
    assert "bomb" in str(check_image(path).problem)
    assert time.process_time() - begin < 0.05
    blank = put(tmp_path, "blank.jpg", encoded("JPEG", Image.new("L", (3000, 2000)), progressive=True, optimize=True))
    assert check_image(blank).problem is None


@pytest.mark.parametrize(("height", "width", "usable"), [(10, 10, True), (9, 50, False), (50, 9, False), (1, 1, False)])
def test_least_side_is_ten_pixels(tmp_path: Path, height: int, width: int, usable: bool) -> None:
    path = put(tmp_path, "a.png", encoded("PNG", sample_image(height, width)))
    assert (check_image(path).problem is None) is usable


FOREIGN = {
    "a.gif": (encoded("GIF"), "GIF"),
    "a.pfm": (b"PF\n4 4\n-1.0\n" + bytes(192), "PFM"),
    "a.jpg": (b"<!DOCTYPE html><html>404</html>", "HTML"),
    "a.webp": (b"\0\0\0\x1cftypavif" + bytes(40), "AVIF"),
    "zeros.jpg": (bytes(5000), "begins with zeros: it was not written to its end"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_formats_are_named(tmp_path: Path, name: str) -> None:
    data, word = FOREIGN[name]
    assert word in str(check_image(put(tmp_path, name, data)).problem)


def test_dng_is_refused_clearly(tmp_path: Path) -> None:
    directory = struct.pack("<HHHIIHHIII", 2, 256, 3, 1, 64, 50706, 1, 4, 0x104, 0)
    assert "DNG" in str(check_image(put(tmp_path, "a.dng", b"II*\0\x08\0\0\0" + directory)).problem)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_measured_values_of_32_bits_are_not_called_damaged(tmp_path: Path, mode: str) -> None:
    path = put(tmp_path, "a.tif", encoded("TIFF", sample_image().convert("L").convert(mode)))
    assert "its values have 32 bits; at most 16 are read" in str(check_image(path).problem)


def test_content_that_does_not_fit_the_name_is_used_with_a_note(tmp_path: Path) -> None:
    report = check_image(put(tmp_path, "a.jpg", encoded("PNG")))
    assert report.problem is None
    assert "png" in report.notes[0].text


def test_animations_and_pages_give_the_first_image(tmp_path: Path) -> None:
    for suffix in ("webp", "png", "tif"):
        data = encoded(FORMATS[suffix], save_all=True, append_images=[sample_image().rotate(180)])
        image = read_image(put(tmp_path, f"a.{suffix}", data))
        assert np.abs(image - np.asarray(sample_image()).astype(int)).mean() < 4


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_file_names_may_be_any_bytes(tmp_path: Path) -> None:
    for name in (b"\xff\xfe.png", "é😀.png".encode(), b"new\nline.png", b"x" * 251 + b".png"):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(encoded("PNG"))
        assert read_image(path).shape == (53, 74, 3)
        path.write_bytes(b"")
        with pytest.raises(DataError) as error:
            read_image(path)
        assert "\n" not in error.value.message
        str(error.value).encode("utf-8")


def test_pipes_and_folders_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, tmp_path / "absent.png"):
        assert check_image(path).problem


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".JPG", ".webp"])
def test_written_images_read_back(tmp_path: Path, suffix: str) -> None:
    pixels = np.asarray(sample_image())
    write_image(tmp_path / f"a{suffix}", pixels)
    difference = np.abs(read_image(tmp_path / f"a{suffix}").astype(int) - pixels)
    assert difference.mean() <= (4 if suffix in {".JPG", ".webp"} else 0)
    assert check_image(tmp_path / f"a{suffix}").notes == ()


def test_unknown_suffix_is_refused() -> None:
    with pytest.raises(DataError, match=r"\.gif"):
        encode_image(np.zeros((20, 20, 3), np.uint8), ".gif")
    with pytest.raises(DataError, match="no pixels"):
        encode_image(np.zeros((0, 20, 3), np.uint8), ".png")


def test_lower_quality_gives_a_smaller_file() -> None:
    pixels = np.asarray(sample_image())
    assert len(encode_image(pixels, ".jpg", quality=30)) < len(encode_image(pixels, ".jpg", quality=95))
