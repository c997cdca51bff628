"""Images that can be read and are suspicious: 16 bits hardly used, one grey level, more objects than count."""

from __future__ import annotations

import io
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_dataset import GOOD_ROW, make_dataset

from onelook.data.scan.index import scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.data.splits import read_splits
from onelook.files.images import check_image
from onelook.recipes.check import check


def deep(largest: int, kind: str = "PNG") -> bytes:
    """A grey image of 16 bits with values up to `largest`."""
    values = np.random.default_rng(0).integers(0, largest + 1, (30, 40)).astype(np.uint16)
    values[0, 0] = largest
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("largest", "bits"), [(255, 8), (4095, 12), (16383, 14), (16384, None), (65535, None)])
def test_images_that_use_few_of_their_16_bits_are_reported(
    kind: str, largest: int, bits: int | None, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(deep(largest, kind))
    report = check_image(path)
    assert report.problem is None
    assert [(note.kind, f"uses {bits}:" in note.text) for note in report.notes] == [("dark-image", True)] * bool(bits)


def test_dark_images_are_a_finding_and_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW, "b": GOOD_ROW}, images={"a.png": deep(255), "b.png": deep(4000)})
    with caplog.at_level(logging.WARNING):
        scan_split(spec, "train")
    assert "2 like `" in caplog.text and "uses 8" in caplog.text
    kinds = [finding.kind for finding in check({"data": spec.path, "near": -1}).diagnosis.findings]
    assert kinds.count("dark-image") == 2


@pytest.mark.parametrize(("spread", "is_flat"), [(0, True), (3, True), (20, False)])
def test_images_of_nearly_one_grey_level_are_a_finding(spread: int, is_flat: bool, tmp_path: Path) -> None:
    """From left to right by a few levels lighter, and noisy."""
    levels = 91 + np.linspace(-spread, spread, 400)[:, None] + np.random.default_rng(0).integers(-2, 3, (300, 400, 3))
    flat = io.BytesIO()
    Image.fromarray(levels.round().astype(np.uint8)).save(flat, "PNG")
    spec = make_dataset(tmp_path, {"a": GOOD_ROW, "b": GOOD_ROW}, images={"b.png": flat.getvalue()})
    found = [finding for finding in check({"data": spec.path}).diagnosis.findings if finding.kind == "flat-image"]
    assert [Path(finding.file).name for finding in found] == ["b.png"] * is_flat
    assert all("nearly one grey level all over, 9" in finding.detail for finding in found)


def test_more_labels_than_detections_that_count_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    places = (np.stack(np.meshgrid(np.arange(20), np.arange(16)), axis=-1).reshape(-1, 2) + 0.5) / (20, 16)
    crowd = "".join(f"0 {x:.6f} {y:.6f} 0.03 0.03\n" for x, y in places[:301])
    spec = make_dataset(tmp_path, {"a": crowd, "b": GOOD_ROW})
    for max_det, is_told in ((300, True), (301, False)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            read_splits(spec.path, ("train", "val"), options=ScanOptions(max_det=max_det))
        assert ("use `--max-det 301`" in caplog.text) is is_told
    found = [finding for finding in check({"data": spec.path}).diagnosis.findings if finding.kind == "crowded-image"]
    assert [finding.detail for finding in found] == ["301 labels; of an image, 300 detections count"]


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (30, 40, 3), np.uint8))


def several(kind: str, count: int) -> bytes:
    buffer = io.BytesIO()
    noise(0).save(buffer, kind, save_all=True, append_images=[noise(seed) for seed in range(1, count)])
    return buffer.getvalue()


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP"])
def test_pages_and_frames_behind_the_first_are_reported(kind: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(several(kind, count))
    report = check_image(path)
    assert report.problem is None and report.size_hw == (30, 40)
    told = [("more-images", f"holds {count} images, of which the first alone is used")] if count > 1 else []
    assert [(note.kind, note.text) for note in report.notes] == told


def test_smaller_copies_in_a_tiff_are_no_pages(tmp_path: Path) -> None:
    """Maps and microscopes store an image with its previews."""
    small, buffer = noise(1).resize((20, 15)), io.BytesIO()
    small.encoderinfo = {"tiffinfo": {254: 1}}
    noise(0).save(buffer, "TIFF", save_all=True, append_images=[small])
    (tmp_path / "a.tif").write_bytes(buffer.getvalue())
    assert check_image(tmp_path / "a.tif").notes == ()


def test_directories_of_a_tiff_that_point_at_each_other_end(tmp_path: Path) -> None:
    data = bytearray(several("TIFF", 1))
    place = int.from_bytes(data[4:8], "little")
    num_entries = int.from_bytes(data[place : place + 2], "little")
    for following in (place, 7, len(data) + 1, 2**32 - 1):
        struct.pack_into("<I", data, place + 2 + 12 * num_entries, following)
        (tmp_path / "a.tif").write_bytes(data)
        assert check_image(tmp_path / "a.tif").problem is None


def test_files_with_several_images_are_a_finding(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = make_dataset(tmp_path, {"a": GOOD_ROW, "b": GOOD_ROW}, images={"b.tif": several("TIFF", 3)})
    with caplog.at_level(logging.WARNING):
        scan_split(spec, "train")
    assert "1 like `" in caplog.text and "holds 3 images, of which the first alone is used" in caplog.text
    found = [one for one in check({"data": spec.path}).diagnosis.findings if one.kind == "more-images"]
    assert [Path(one.file).name for one in found] == ["b.tif"]
