"""Each setting of `onelook check` changes what it says it changes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from colour_detector import write_detector, write_squares
from option_runs import covers

from onelook.cli.main import main
from onelook.errors import DataError, DeviceError, RunFolderError
from onelook.recipes.check import check

YAML = "path: .\ntrain: images/train\nval: images/val\nnames: [a, b]\n"


def image(seed: int, side: int = 96) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(key=seed))
    return cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A clean dataset: 12 images to train on and 3 to validate on, with an object of each class in each."""
    for split, count in (("train", 12), ("val", 3)):
        for kind in ("images", "labels"):
            (tmp_path / "data" / kind / split).mkdir(parents=True)
        for number in range(count):
            name = f"{split}/{number:02}"
            cv2.imwrite(str(tmp_path / f"data/images/{name}.png"), image(number + 100 * count))
            (tmp_path / f"data/labels/{name}.txt").write_text("0 .3 .3 .2 .2\n1 .6 .6 .5 .5\n")
    yaml = tmp_path / "data" / "data.yaml"
    yaml.write_text(YAML)
    return yaml


def kinds(data: Path, **settings: Any) -> Counter[str]:
    return Counter(finding.kind for finding in check({"data": data, **settings}).diagnosis.findings)


@covers("check", "data")
def test_a_clean_dataset_is_clean(data: Path) -> None:
    result = check({"data": data, "strict": True})
    assert result.diagnosis.findings == () and "nothing found" in result.diagnosis.verdict
    assert result.ledgers["train"].rows_used == 24
    result.insist()


@covers("check", "imgsz")
def test_small_objects_are_small_at_the_size_of_training(data: Path) -> None:
    (data.parent / "labels/train/03.txt").write_text("0 .5 .5 .02 .3\n")
    assert kinds(data)["tiny-object"] == 0
    assert kinds(data, imgsz=96)["tiny-object"] == 1


@covers("check", "strict")
def test_warnings_are_errors_with_strict(data: Path) -> None:
    cv2.imwrite(str(data.parent / "images/train/20.png"), image(7))
    check({"data": data}).insist()
    with pytest.raises(DataError, match=r"`--strict` allows no error and no warning: dataset `.*` has 1 warning"):
        check({"data": data, "strict": True}).insist()


def test_notes_are_no_errors_with_strict(data: Path) -> None:
    (data.parent / "labels/train/03.txt").write_text("")
    result = check({"data": data, "strict": True})
    assert [finding.kind for finding in result.diagnosis.findings] == ["empty-label-file"]
    result.insist()


@covers("check", "allow_unlabelled")
def test_most_images_may_have_no_label_file_if_that_is_said(data: Path) -> None:
    for number in range(7):
        (data.parent / f"labels/train/{number:02}.txt").unlink()
    with pytest.raises(DataError, match="7 of 12 images have no label file"):
        check({"data": data}).insist()
    check({"data": data, "allow_unlabelled": True}).insist()


@covers("check", "near")
def test_images_that_look_alike_are_found_as_far_as_is_asked(data: Path) -> None:
    alike = cv2.resize(image(1203), (70, 70), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(data.parent / "images/val/a.png"), alike)
    (data.parent / "labels/val/a.txt").write_text("0 .3 .3 .2 .2\n")
    assert kinds(data) == {"leaked-look": 1}
    assert kinds(data, near=-1) == {}


@covers("check", "cfg")
def test_anchors_of_the_model_are_measured(data: Path, tiny_model: Path) -> None:
    assert kinds(data)["far-anchors"] == 0
    assert kinds(data, cfg=str(tiny_model))["far-anchors"] == 1
    assert kinds(data, cfg=str(tiny_model), imgsz=96)["far-anchors"] == 0


@covers("check", "weights", "suspicions")
def test_a_detector_judges_the_labels(tmp_path: Path) -> None:
    squares, weights = write_squares(tmp_path / "squares"), str(write_detector(tmp_path))
    for number in (3, 7):
        (tmp_path / f"squares/labels/train/{number:02}.txt").write_text("")
    empty = {"empty-label-file": 2}
    assert kinds(squares, imgsz=96, near=-1) == empty
    missing = kinds(squares, imgsz=96, near=-1, weights=weights)["suspect-missing"]
    assert missing >= 4
    assert kinds(squares, imgsz=96, near=-1, weights=weights, suspicions=3) == {**empty, "suspect-missing": 3}


def test_a_weak_detector_ranks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    squares, weights = write_squares(tmp_path / "squares"), str(write_detector(tmp_path))
    given = {"data": squares, "imgsz": 96, "near": -1, "weights": weights}
    good = check(given)
    assert good.diagnosis.detector_map50 is not None and good.diagnosis.detector_map50 > 0.8
    for label in (tmp_path / "squares/labels").rglob("*.txt"):
        label.write_text("0 .05 .05 .05 .05\n")
    weak = check(given)
    assert weak.diagnosis.detector_map50 is not None and weak.diagnosis.detector_map50 < 0.3
    assert weak.suspicions == ()
    assert main(["check", str(squares), "--imgsz", "96", "--near", "-1", "--weights", weights]) == 0
    out = capsys.readouterr().out
    assert "the detector has mAP50 0.0" in out and "below 0.3: most suspicions would be" in out


@pytest.mark.parametrize(
    ("row", "strict", "code", "says"),
    [
        (
            "0 .5 .5 .2 .2\nx",
            False,
            0,
            "training would still start, so the exit code is 0; with `--strict` it is 65",
        ),
        ("7 .5 .5 .2 .2", False, 65, "refused, since split `train`: class ids 7 are not below"),
        ("0 .5 .5 .2 .2\nx", True, 65, "refused, since "),
        ("0 .5 .5 .2 .2", True, 0, "ready for training"),
    ],
)
def test_the_verdict_and_the_exit_code_agree_or_it_says_why(
    row: str, strict: bool, code: int, says: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data.parent / "labels/train/03.txt").write_text(f"{row}\n")
    assert main(["check", str(data), "--near", "-1", *(["--strict"] if strict else [])]) == code
    assert says in capsys.readouterr().out


@covers("check", "device")
def test_the_detector_runs_where_it_should(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        check({"data": data, "weights": str(write_detector(tmp_path)), "device": "99"})


@covers("check", "output", "exist_ok")
def test_the_report_goes_to_a_new_folder(data: Path, tmp_path: Path) -> None:
    (data.parent / "labels/train/03.txt").write_text("0 .5 .5 .2 .2\nx\n")
    check({"data": data, "output": str(tmp_path / "report")})
    told = json.loads((tmp_path / "report" / "check.json").read_text())
    assert told["counts"] == {"error": 1, "warning": 0, "note": 0} and told["splits"]["train"]["labels"] == 23
    assert told["findings"][0]["kind"] == "refused-row" and told["findings"][0]["line"] == 2
    with pytest.raises(RunFolderError, match="report` already exists"):
        check({"data": data, "output": str(tmp_path / "report")})
    check({"data": data, "output": str(tmp_path / "report"), "exist_ok": True})
