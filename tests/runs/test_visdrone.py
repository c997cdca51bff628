"""A dataset in the format of VisDrone, from the data doctor to training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from option_runs import Options, fit

from onelook.data.dataset_layout import open_dataset
from onelook.data.formats.written_numbers import boxes_xywh_px, text_of
from onelook.data.scan.index import ScanResult, scan_split
from onelook.errors import DataError
from onelook.recipes.check import check
from onelook.recipes.convert_data import convert_data

ARRAYS = ("sizes_hw", "offsets", "class_ids", "boxes")
REGION = "0,0,5,5,0,0,0,0,\n"


def scans_of(data: Path) -> dict[str, ScanResult]:
    spec = open_dataset(data)
    return {split: scan_split(spec, split) for split in spec.splits}


@pytest.fixture(scope="module")
def drones(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data as VisDrone has it, with a region to ignore in each image; the path of the YAML."""
    folder = tmp_path_factory.mktemp("drones")
    lines = ["format: visdrone", "names: [square, disc]"]
    for split, scan in scans_of(tiny_data).items():
        images, annotations = folder / split / "images", folder / split / "annotations"
        images.mkdir(parents=True)
        annotations.mkdir()
        index, boxes = scan.index, boxes_xywh_px(scan.index).tolist()
        for number, path in enumerate(index.paths):
            (images / Path(path).name).symlink_to(path)
            rows = [
                ",".join([*map(text_of, boxes[label]), "1", str(int(index.class_ids[label]) + 1), "0", "0"])
                for label in range(*index.labels_of(number).indices(len(boxes)))
            ]
            (annotations / f"{Path(path).stem}.txt").write_text(REGION + "".join(f"{row}\n" for row in rows))
        lines.append(f"{split}: {{images: {split}/images, annotations: {split}/annotations}}")
    (folder / "data.yaml").write_text("\n".join(lines))
    return folder / "data.yaml"


def test_training_is_that_on_the_same_labels_of_yolo_bit_for_bit(
    tiny_data: Path, tiny_model: Path, drones: Path, tmp_path: Path
) -> None:
    options: Options = {
        "cfg": tiny_model, "epochs": 2, "batch_size": 4, "imgsz": 64, "workers": 0, "device": "cpu", "noplots": True,
        "noreport": True, "noautoanchor": True, "project": tmp_path / "runs",
    }  # fmt: skip
    runs = [fit(options, data=data) for data in (tiny_data, drones)]
    assert runs[0].bits == runs[1].bits
    assert runs[0].row == runs[1].row


def test_labels_are_written_in_other_formats_bit_for_bit(tiny_data: Path, drones: Path, tmp_path: Path) -> None:
    converted = convert_data({"data": drones, "to": "yolo", "out": tmp_path / "yolo", "images": "link"})
    assert converted.splits.scans["train"].ledger.rows_ignored == 20
    for split, scan in scans_of(converted.path).items():
        for name in ARRAYS:
            assert np.array_equal(getattr(scan.index, name), getattr(scans_of(tiny_data)[split].index, name)), name
        assert scan.ledger.rows_ignored == 0


def test_doctor_reports_rows_with_their_line(drones: Path) -> None:
    path = drones.parent / "val/annotations/000.txt"
    before = path.read_text()
    path.write_text(f"{before}9,9,0,4,1,1,0,0\n900,9,4,4,1,1,0,0\n{before}1,1,4,4,0.9,1,-1,-1\n")
    findings = [one for one in check({"data": drones, "near": -1}).diagnosis.findings if one.file == str(path)]
    path.write_text(before)
    last = len(before.splitlines())
    told = [(one.kind, one.line) for one in findings]
    assert ("set-aside", 1) in told and ("no-area", last + 1) in told and ("outside", last + 2) in told
    assert ("refused-row", 2 * last + 3) in told
    assert Counter(kind for kind, _ in told)["repeated-row"] == last - 1


def test_images_without_labels_are_told_with_the_place_where_these_are_looked_for(drones: Path) -> None:
    folder = drones.parent / "train/annotations"
    folder.rename(folder.with_name("labels"))
    folder.mkdir()
    result = check({"data": drones, "near": -1})
    folder.rmdir()
    folder.with_name("labels").rename(folder)
    with pytest.raises(DataError, match=r"looked for `.*/train/annotations/000\.txt`, for example") as error:
        result.insist()
    assert f"lies below `{folder}` as the image lies below its folder" in str(error.value)
