"""Places that a TIFF or an EXIF block names and that no file can have."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image as Pillow

from onelook.files.images import check_image, read_image

FAR = 1 << 63
DIRECTORY = (
    struct.pack("<Q", 2) + struct.pack("<HHQQ", 256, 3, 1, 40) + struct.pack("<HHQQ", 274, 16, 9, FAR) + bytes(8)
)


@pytest.mark.parametrize(
    "tiff",
    [b"II+\0\x08\0\0\0" + struct.pack("<Q", FAR), b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + DIRECTORY],
    ids=["directory", "value"],
)
def test_a_place_beyond_every_file_is_a_fault_of_the_image_or_no_orientation(tiff: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff)
    report = check_image(tmp_path / "a.tif")
    assert "ends within its header" in str(report.problem)
    file = io.BytesIO()
    Pillow.new("RGB", (40, 30)).save(file, "JPEG", exif=b"Exif\0\0" + tiff)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    assert read_image(tmp_path / "a.jpg").shape == (30, 40, 3)
