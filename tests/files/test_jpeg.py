"""Damaged JPEGs: refused or reported, never used as if they were whole, and without a word of the decoder's own."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onelook.files.image_headers import DamagedImage, read_header
from onelook.files.images import ImageReport, check_image, decode_image
from onelook.files.jpeg import MAX_SCANS, mended_jpeg

END = b"\xff\xd9"
KINDS: dict[str, dict[str, object]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "grey": {"mode": "L"},
    "restarts": {"restart_marker_blocks": 3},
    "progressive, grey": {"progressive": True, "mode": "L"},
    "CMYK": {"mode": "CMYK", "subsampling": 0},
    "odd sampling": {"mode": "CMYK"},
}


def jpeg(kind: str = "baseline", *, height: int = 60, width: int = 80) -> bytes:
    options = dict(KINDS[kind])
    pixels = np.random.Generator(np.random.Philox(key=3)).integers(0, 255, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(str(options.pop("mode", "RGB"))).save(buffer, "JPEG", quality=60, **options)
    return buffer.getvalue()


def report_on(folder: Path, data: bytes) -> ImageReport:
    (folder / "a.jpg").write_bytes(data)
    return check_image(folder / "a.jpg")


@pytest.mark.parametrize("ending", [b"", END], ids=["open", "closed"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_is_refused_unless_all_pixels_are_there(
    kind: str, ending: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = jpeg(kind)
    whole = decode_image(data)
    for stop in range(0, len(data) - len(END), 17):
        cut = data[:stop] + ending
        problem = report_on(tmp_path, cut).problem
        try:
            pixels = decode_image(cut)
        except DamagedImage:
            assert problem is not None, stop
        else:
            assert problem is None and np.array_equal(pixels, whole), stop
    assert capfd.readouterr() == ("", "")


def scan_starts(data: bytes) -> list[int]:
    """Where the scans of a JPEG begin, and what stands between them."""
    return [place for place in range(len(data) - 1) if data[place : place + 2] in (b"\xff\xda", b"\xff\xc4")]


def test_progressive_jpeg_that_ends_between_two_scans_is_refused(tmp_path: Path) -> None:
    data = jpeg("progressive")
    first = data.index(b"\xff\xda")
    cuts = [place for place in scan_starts(data) if place > first]
    assert len(cuts) > 8
    for cut in cuts:
        assert "truncated" in str(report_on(tmp_path, data[:cut] + END).problem), cut


@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts"])
def test_changed_bytes_are_refused_or_are_what_the_file_says(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = jpeg(kind)
    first = data.index(b"\xff\xda") + 20
    refused = 0
    for place in range(first, len(data) - 40, 97):
        changed = data[:place] + bytes(30) + data[place + 30 :]
        problem = report_on(tmp_path, changed).problem
        refused += problem is not None
        if problem is not None:
            with pytest.raises(DamagedImage):
                decode_image(changed)
    assert refused > 0.6 * len(range(first, len(data) - 40, 97))  # the rest decodes: a JPEG has no checksum
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("padding", [bytes(1), bytes(300)])
def test_padding_before_the_end_is_reported_and_mended(padding: bytes, tmp_path: Path) -> None:
    data = jpeg()
    padded = data[:-2] + padding + END
    report = report_on(tmp_path, padded)
    assert report.problem is None and f"{len(padding)} bytes of padding" in report.notes[0].text
    assert np.array_equal(decode_image(padded), decode_image(data))
    frame = read_header(padded).jpeg
    assert frame is not None and mended_jpeg(padded, frame) == data


def test_left_over_image_data_are_refused(tmp_path: Path) -> None:
    data = jpeg()
    assert "extraneous" in str(report_on(tmp_path, data[:-2] + data[-300:]).problem)


def with_many_scans(count: int, *, side: int = 1000) -> bytes:
    """A progressive JPEG whose refinement of one coefficient is repeated, 14 bytes each time."""
    data = jpeg("progressive", height=side, width=side)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x01\x10" + bytes(4)
    return data[:-2] + scan * count + END


def test_thousands_of_scans_are_refused_at_once(tmp_path: Path) -> None:
    data = with_many_scans(60_000)
    begin = time.process_time()
    problem = report_on(tmp_path, data).problem
    assert problem is not None and problem.kind == "bomb" and f"{MAX_SCANS} scans" in problem.text
    assert time.process_time() - begin < 0.5


def test_as_many_scans_as_are_allowed_take_little_time(tmp_path: Path) -> None:
    data = with_many_scans(MAX_SCANS - 12)
    begin = time.process_time()
    report_on(tmp_path, data)
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_are_read_at_all_scales(kind: str, scale: int) -> None:
    data = jpeg(kind, height=53, width=74)
    pixels = decode_image(data, scale_hint=scale)
    assert pixels.shape == (-(-53 // scale), -(-74 // scale), 3)
    with Image.open(io.BytesIO(data)) as file:
        expected = np.asarray(file.convert("RGB").resize(pixels.shape[1::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(pixels - expected).mean() < (2 if scale == 1 else 25)
