"""Labels that a detector contradicts, found with a detector that is known to be right."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from colour_detector import write_detector, write_squares

from onelook.doctor.suspicions import ImageComparison, suspicions
from onelook.errors import ModelError
from onelook.recipes.check import CheckResult, check
from onelook.structures.detections import Detections


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_detector(tmp_path_factory.mktemp("detector"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_squares(tmp_path / "data")


def examined(data: Path, weights: Path, **more: object) -> CheckResult:
    return check({"data": data, "weights": str(weights), "imgsz": 96, "device": "cpu", "near": -1, **more})


def change_row(data: Path, number: int, change: Callable[[list[str]], list[str]]) -> None:
    """Change the first row of a label file of the training split."""
    label = data.parent / f"labels/train/{number:02}.txt"
    first, *others = label.read_text().splitlines()
    changed = " ".join(change(first.split()))
    label.write_text("\n".join([changed, *others]) + "\n")


FAULTS: dict[str, Callable[[list[str]], list[str]]] = {
    "suspect-missing": lambda row: [],
    "suspect-class": lambda row: [str(1 - int(row[0])), *row[1:]],
    "suspect-place": lambda row: [row[0], str(float(row[1]) + (0.14 if float(row[1]) < 0.5 else -0.14)), *row[2:]],
}


def test_right_labels_are_not_suspected(data: Path, weights: Path) -> None:
    assert examined(data, weights).suspicions == ()


@pytest.mark.parametrize("kind", FAULTS)
def test_a_wrong_label_is_suspected_of_just_that(kind: str, data: Path, weights: Path) -> None:
    change_row(data, 5, FAULTS[kind])
    result = examined(data, weights)
    assert [one.kind for one in result.suspicions] == [kind]
    assert result.suspicions[0].strength > 0.9
    (finding,) = (finding for finding in result.diagnosis.findings if finding.kind == kind)
    assert Path(finding.file).name == "05.png" and finding.detail.startswith("no. 1, strength ")


def test_a_label_of_nothing_is_suspected(data: Path, weights: Path) -> None:
    label = data.parent / "labels/train/03.txt"
    label.write_text(label.read_text() + "0 0.46 0.46 0.08 0.08\n")
    assert [one.kind for one in examined(data, weights).suspicions] == ["suspect-extra"]


def test_the_clearest_contradictions_come_first_and_no_more_than_are_asked_for(data: Path, weights: Path) -> None:
    change_row(data, 4, FAULTS["suspect-missing"])
    change_row(data, 9, FAULTS["suspect-class"])
    found = examined(data, weights).suspicions
    assert [one.kind for one in found] == ["suspect-class", "suspect-missing"]  # two signs weigh more than one
    assert examined(data, weights, suspicions=1).suspicions == found[:1]


def test_suspicions_are_on_the_page_as_images(data: Path, weights: Path, tmp_path: Path) -> None:
    change_row(data, 5, FAULTS["suspect-class"])
    examined(data, weights, output=str(tmp_path / "report"))
    text = (tmp_path / "report" / "check.html").read_text(encoding="utf-8")
    (image,) = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", text)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(image), np.uint8), 1)
    assert shown.shape[0] == 240 and shown.shape[1] > 480
    assert "1. 05.png" in text and "looks like" in text
    told = json.loads((tmp_path / "report" / "check.json").read_text())
    assert [fault["kind"] for fault in told["faults"]] == ["suspect-class"]


def test_weights_of_other_classes_are_refused(data: Path, weights: Path) -> None:
    data.write_text(data.read_text().replace("green", "BLUE").replace("blue", "green").replace("BLUE", "blue"))
    with pytest.raises(ModelError, match="class 0 is `green` in weights"):
        examined(data, weights)


def test_classes_that_are_only_called_otherwise_are_judged(
    data: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data.write_text(data.read_text().replace("blue", "azure"))
    assert examined(data, weights).suspicions == ()
    assert "taken to be the same: class 1 is `blue` and `azure`" in caplog.text


def test_a_detector_that_is_mostly_wrong_has_nothing_to_say() -> None:
    rng = np.random.Generator(np.random.Philox(key=1))
    images = []
    for image in range(50):
        corners = rng.uniform(0, 80, (4, 2)).astype(np.float32)
        seen = Detections(np.concatenate([corners, corners + 9], axis=1), np.full(4, 0.9, np.float32), np.zeros(4, int))
        labels = np.array([[95.0, 95, 99, 99]])
        images.append(ImageComparison("train", image, image, (100, 100), labels, np.zeros(1, int), seen))
    assert suspicions(images, 1) == []


def test_a_class_that_the_detector_confuses_weighs_less() -> None:
    """Two classes with equal scores: of one, the dataset agrees always, of the other in three of four cases."""
    box, images = np.array([[10.0, 10, 30, 30]], np.float32), []
    nothing = np.zeros((0, 4)), np.zeros(0, int)
    for image in range(80):
        class_id = image % 2
        is_labelled = image not in (0, 1) and not (class_id == 1 and image % 8 == 3)
        seen = Detections(box, np.array([0.8], np.float32), np.array([class_id]))
        labels = (box, np.array([class_id])) if is_labelled else nothing
        images.append(ImageComparison("train", image, image, (100, 100), *labels, seen))
    found = suspicions(images, 2)
    assert found[0].image == 0 and found[0].strength > 0.9
    assert all(0.7 < one.strength < 0.85 and one.seen_class == 1 for one in found[1:]) and len(found) == 12
