"""The corrected copy: clean, faithful in all that was right, and never instead of the old one."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from colour_detector import write_squares
from option_runs import covers

from onelook.data.dataset_layout import open_dataset
from onelook.data.scan.index import ScanResult, scan_split
from onelook.errors import DataError, SettingsError
from onelook.files.images import read_image
from onelook.recipes.check import check


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_squares(tmp_path / "data")


def scanned(yaml: Path) -> dict[str, ScanResult]:
    spec = open_dataset(yaml)
    return {split: scan_split(spec, split) for split in spec.splits}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def spoil(data: Path) -> None:
    """One fault of every kind that a machine can cure."""
    images, labels = data.parent / "images/train", data.parent / "labels/train"
    jpeg = cv2.imencode(".jpg", cv2.imread(str(images / "00.png")))[1].tobytes()
    (images / "00.png").unlink()
    (images / "00.jpg").write_bytes(jpeg.removesuffix(b"\xff\xd9"))
    (images / "01.png").rename(images / "01.jpg")
    (images / "02.png").write_bytes((images / "02.png").read_bytes()[:300])
    shutil.copy(images / "03.png", images / "33.png")
    shutil.copy(labels / "03.txt", labels / "33.txt")
    shutil.copy(images / "04.png", data.parent / "images/val/44.png")
    (labels / "05.txt").unlink()
    rows = (labels / "06.txt").read_text()
    class_id, *box = rows.split("\n")[0].split()
    nearly = " ".join([class_id, *(str(float(number) * 1.003) for number in box)])
    (labels / "06.txt").write_text(
        f"{rows}{rows}{nearly}\n0 .95 .5 .2 .2\n0 .5 .5 nan 1\n0 1.5 .5 .1 .1\n0 .5 .5 0 .1\n1 .5 .5 .1\n"
    )
    (labels / "07.txt").write_text("0 0.1 0.1 0.4 0.15 0.3 0.62\n1 1.02 .5 .7 .6 .7 .4\n")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_dark_images_of_16_bits_are_scaled_by_one_factor_in_all_splits(suffix: str, data: Path, tmp_path: Path) -> None:
    """12 bits in training, 10 in validation: both become 16 times as bright, and models see the same in both."""
    dark = {"train/00": (4095, 700), "train/01": (1023, 3), "val/02": (900, 20)}
    for name, (largest, other) in dark.items():
        values = np.full((64, 64), other, np.uint16)
        values[5:20, 5:20] = largest
        (data.parent / f"images/{name}.png").unlink(missing_ok=True)
        cv2.imwrite(str(data.parent / f"images/{name}{suffix}"), values)
        (data.parent / f"labels/{name}.txt").write_text("0 .2 .2 .2 .2\n")
    result = check({"data": data, "fix": str(tmp_path / "fixed"), "near": -1})
    assert [one.kind for one in result.diagnosis.findings].count("dark-image") == 3
    for name, values in dark.items():
        after = read_image(tmp_path / f"fixed/images/{name}{suffix}")
        assert np.unique(after).tolist() == pytest.approx(sorted(value * 16 / 256 for value in values), abs=1)
    account = json.loads((tmp_path / "fixed/fixes.json").read_text())
    assert [one["kind"] for one in account["corrected"]].count("dark-image") == 3
    full = cv2.imread(str(tmp_path / f"fixed/images/train/00{suffix}"), cv2.IMREAD_UNCHANGED)
    assert (full.dtype, full.max()) == (np.uint16, 4095 * 16)


@covers("check", "fix")
def test_the_copy_is_clean_and_the_rest_is_as_it_was(data: Path, tmp_path: Path) -> None:
    num_rows = len((data.parent / "labels/train/06.txt").read_text().splitlines())
    spoil(data)
    before = contents(data.parent)
    result = check({"data": data, "fix": str(tmp_path / "fixed"), "near": -1})
    assert contents(data.parent) == before
    assert result.fixed == tmp_path / "fixed" / "data.yaml"
    after = scanned(result.fixed)
    assert [scan.ledger.entries for scan in after.values()] == [(), ()]
    left = {finding.kind for finding in check({"data": result.fixed, "near": -1}).diagnosis.findings}
    assert left <= {"empty-label-file", "tiny-object", "rare-class"}

    old, new = result.scans["train"].index, after["train"].index
    stems = [Path(path).stem for path in new.paths]
    assert stems == [f"{number:02}" for number in range(20) if number != 2]
    for stem in set(stems) - {"06"}:
        one, other = ([Path(path).stem for path in index.paths].index(stem) for index in (old, new))
        assert np.array_equal(old.boxes[old.labels_of(one)], new.boxes[new.labels_of(other)])
        assert np.array_equal(old.class_ids[old.labels_of(one)], new.class_ids[new.labels_of(other)])
    assert len(new.polygon_points) == 6
    assert len(new.class_ids[new.labels_of(stems.index("06"))]) == num_rows + 1  # the one that was clipped
    assert [Path(path).name for path in new.paths[:2]] == ["00.jpg", "01.png"]
    assert (tmp_path / "fixed/images/train/03.png").read_bytes() == before["images/train/03.png"]
    assert len(after["val"].index) == 4


def test_a_refusal_of_the_original_leads_to_the_copy(data: Path, tmp_path: Path) -> None:
    (data.parent / "labels/train/06.txt").write_text("7 .5 .5 .2 .2\n")
    result = check({"data": data, "fix": str(tmp_path / "fixed"), "near": -1})
    with pytest.raises(DataError, match="class ids 7 are not below") as refused:
        result.insist()
    assert refused.value.hint is not None and "--single-cls" in refused.value.hint
    assert refused.value.hint.endswith(f"; or check the corrected copy: `onelook check {result.fixed}`")


def test_the_account_tells_what_was_done_and_what_is_left(data: Path, tmp_path: Path) -> None:
    spoil(data)
    (data.parent / "labels/train/08.txt").write_text("")
    check({"data": data, "fix": str(tmp_path / "fixed"), "near": -1})
    told = json.loads((tmp_path / "fixed" / "fixes.json").read_text())
    done = {entry["kind"]: entry["done"] for entry in told["corrected"]}
    assert done["repeated-row"] == "removed" and done["odd-file"] == "repaired" and done["unusable-image"] == "left out"
    assert [(entry["kind"], Path(entry["file"]).name) for entry in told["left"]] == [("empty-label-file", "08.png")]


@pytest.mark.parametrize("place", ["there", "images/train/fixed"])
def test_nothing_is_replaced_or_written_among_the_images(place: str, data: Path) -> None:
    (data.parent / "there").mkdir()
    before = contents(data.parent)
    with pytest.raises(SettingsError) as caught:
        check({"data": data, "fix": str(data.parent / place), "near": -1})
    assert "already exists" in caught.value.message or "lies within" in caught.value.message
    assert contents(data.parent) == before


def test_a_split_that_is_all_in_another_one_cannot_be_mended(data: Path, tmp_path: Path) -> None:
    data.write_text(data.read_text().replace("val: images/val", "val: images/train"))
    with pytest.raises(DataError, match="none would be left"):
        check({"data": data, "fix": str(tmp_path / "fixed"), "near": -1})
    assert not (tmp_path / "fixed").exists() and not list(tmp_path.glob(".fixed*"))


def test_a_clean_dataset_is_copied_as_it_is(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check({"data": data, "fix": str(tmp_path / "fixed"), "near": -1})
    for split in ("train", "val"):
        for path in (data.parent / "images" / split).iterdir():
            assert (tmp_path / "fixed/images" / split / path.name).read_bytes() == path.read_bytes()
    assert caplog.text == ""
