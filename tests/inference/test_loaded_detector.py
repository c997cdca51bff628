"""What a detector gives in Python: boxes, and the image drawn, cut out, written, and in the forms of others."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import onelook
from onelook.errors import DataError, SettingsError
from onelook.files.images import read_image, write_image
from onelook.inference.detector import IMAGES_AT_A_TIME, Detector
from onelook.inference.image_result import ImageResult
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.models.detector import DetectionModel, create_model
from onelook.structures.coco_classes import COCO_NAMES
from onelook.structures.detections import Detections

NAMES = ("red", "green/blue")


def spot_model(names: tuple[str, ...]) -> DetectionModel:
    """Every 8 x 8 cell that is red (class 0) or green (last class) is an object of just that cell."""
    table = {
        "nc": len(names), "depth_multiple": 1.0, "width_multiple": 1.0, "anchors": [[8, 8]],
        "backbone": [[-1, 1, "Conv", [8, 8, 8, 0]]], "head": [[[0], 1, "Detect", ["nc", "anchors"]]],
    }  # fmt: skip
    model = create_model(table, names=names).eval().requires_grad_(False)
    model.model[0].conv.weight.zero_()
    model.model[0].conv.weight[[0, 1], [0, 1]] = 1 / 64
    head = model.head.m[0]
    head.weight.zero_()
    head.bias.copy_(torch.tensor([0.0] * 4 + [-10.0] * (1 + len(names))))
    head.weight[4, :2, 0, 0] = 25.0
    head.weight[5, 0, 0, 0] = head.weight[4 + len(names), 1, 0, 0] = 20.0
    return model


def detector(names: tuple[str, ...] = NAMES, **settings: Any) -> Detector:
    return Detector(Predictor(spot_model(names), PredictionSettings(**{"imgsz": 64, **settings})))


def spots(*places: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """A black image of 48 x 64 pixels with cells of 8 pixels at x, y of a colour."""
    image = np.zeros((48, 64, 3), np.uint8)
    for x, y, channel in places:
        image[y : y + 8, x : x + 8, channel] = 255
    return image


IMAGE = spots((8, 16, 0), (40, 24, 1))


def result_of(source: Any, **options: Any) -> ImageResult:
    found = detector(**options)(source)
    assert isinstance(found, ImageResult) and isinstance(found, Detections)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_image(tmp_path / "0042.png", IMAGE)
    return tmp_path / "0042.png"


def test_a_result_knows_its_boxes_classes_and_image(file: Path) -> None:
    found = result_of(file)
    order = np.argsort(found.class_ids)
    np.testing.assert_allclose(found.boxes[order], [[8, 16, 16, 24], [40, 24, 48, 32]], atol=1e-3)
    assert found.class_ids[order].tolist() == [0, 1] and (found.scores > 0.9).all()
    assert (found.names, found.path, found.size_hw, len(found)) == (NAMES, file, (48, 64), 2)
    assert np.array_equal(found.image, IMAGE)
    assert "1 red" in repr(found) and "0042.png" in repr(found)
    given = result_of(np.zeros_like(IMAGE))
    assert given.path is None and repr(given) == "<ImageResult of 64 x 48 pixels: nothing>"


def test_detectors_say_what_they_find() -> None:
    assert repr(detector()) == "<Detector of 2 classes: red, green/blue>"
    assert repr(detector(COCO_NAMES)) == "<Detector of 80 classes: person, bicycle, car, motorcycle, airplane, ...>"


def test_lists_give_lists_in_their_order_and_folders_too(file: Path) -> None:
    empty = np.zeros_like(IMAGE)
    several = [IMAGE, empty] * IMAGES_AT_A_TIME
    found = detector()(several)
    assert isinstance(found, list) and [len(one) for one in found] == [2, 0] * IMAGES_AT_A_TIME
    (only,) = detector()([file])  # type: ignore[misc]
    assert only.path == file
    write_image(file.with_name("a.png"), empty)
    assert [len(one) for one in detector()(file.parent)] == [2, 0]  # type: ignore[union-attr]
    assert detector()([]) == []
    with pytest.raises(DataError, match=r"no\.jpg"):
        detector()([file, "no.jpg"])


def test_plot_draws_on_a_copy() -> None:
    before = IMAGE.copy()
    found = result_of(IMAGE)
    drawn = found.plot(line_thickness=2)
    assert drawn.shape == IMAGE.shape and drawn.dtype == np.uint8 and np.array_equal(IMAGE, before)
    inked = {
        name: int((found.plot(**options) != IMAGE).any(axis=2).sum())  # type: ignore[arg-type]
        for name, options in {"all": {}, "thick": {"line_thickness": 5}, "bare": {"hide_labels": True}}.items()
    }
    assert inked["thick"] > inked["all"] > inked["bare"] > 0
    assert not np.array_equal(found.plot(), found.plot(hide_conf=True))


def test_crops_hold_their_objects(tmp_path: Path, file: Path) -> None:
    found = result_of(file)
    for piece, class_id in zip(found.crop(), found.class_ids.tolist(), strict=True):
        assert 8 * 8 < piece.shape[0] * piece.shape[1] < 20 * 20
        assert (piece[..., class_id] == 255).sum() == 64
    written = found.save_crops(tmp_path / "crops")
    assert [path.is_file() for path in written] == [True, True]
    assert {path.relative_to(tmp_path).parent.as_posix() for path in written} == {"crops/red", "crops/green_blue"}
    assert {path.name for path in written} == {"0042_1.jpg", "0042_2.jpg"}


def test_save_writes_the_drawn_image_and_never_over_the_original(tmp_path: Path, file: Path) -> None:
    found = result_of(file)
    assert found.save(tmp_path / "drawn" / "x.png") == tmp_path / "drawn" / "x.png"
    assert np.array_equal(read_image(tmp_path / "drawn" / "x.png"), found.plot())
    assert found.save(str(tmp_path / "others")) == tmp_path / "others" / "0042.png"
    for place in (file, file.parent):
        with pytest.raises(SettingsError, match="is the image itself"):
            found.save(place)
    assert np.array_equal(read_image(file), IMAGE)
    with pytest.raises(SettingsError, match="has no name\nhint: name a file"):
        result_of(IMAGE).save(tmp_path)
    with pytest.raises(DataError, match=r"written as `\.docx`"):
        found.save(tmp_path / "new" / "x.docx")
    assert not (tmp_path / "new").exists()
    original = file.rename(file.with_suffix(".mpo"))
    assert result_of(original).save(tmp_path / "mpo").name == "0042.jpg"


def test_json_and_coco_hold_every_box(file: Path) -> None:
    found = result_of(file)
    content = json.loads(found.to_json())
    assert (content["file"], content["height"], content["width"]) == (str(file), 48, 64)
    red = next(entry for entry in content["detections"] if entry["class"] == "red")
    assert red["class_id"] == 0 and red["box_xyxy"] == pytest.approx([8, 16, 16, 24], abs=1e-3)
    entry = next(entry for entry in found.to_coco() if entry["category_id"] == 0)
    assert entry["image_id"] == 42 and entry["bbox"] == pytest.approx([8, 16, 8, 8], abs=1e-3)
    assert entry["score"] == pytest.approx(red["score"]) and len(found.to_coco()) == 2
    assert {entry["image_id"] for entry in found.to_coco("hive")} == {"hive"}
    assert json.loads(result_of(IMAGE).to_json())["file"] is None


def test_images_that_were_given_together_have_ids_of_their_own(file: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    namesake = Path(shutil.copy(file, tmp_path / "again"))
    other = Path(shutil.copy(file, tmp_path / "hive.png"))

    def ids(given: list[object]) -> list[object]:
        results = detector()(given)
        assert isinstance(results, list)
        return [result.to_coco()[0]["image_id"] for result in results]

    assert ids([IMAGE, IMAGE]) == ids([file, namesake]) == ids([file, IMAGE]) == [0, 1]
    assert ids([file, other]) == ["0042", "hive"] and ids([file]) == [42]
    assert [frame.to_coco()[0]["image_id"] for frame in detector().track([IMAGE, IMAGE, file])] == [0, 1, 2]


def test_detectors_of_coco_give_its_category_ids(file: Path) -> None:
    found = result_of(file, names=COCO_NAMES)
    assert {entry["category_id"] for entry in found.to_coco()} == {1, 90}, "person and toothbrush"
    assert sorted(found.class_ids.tolist()) == [0, 79]


def test_pandas_gets_a_row_for_each_detection(file: Path) -> None:
    pandas = pytest.importorskip("pandas")
    found = result_of(file)
    table = found.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == ["file", "class_id", "class", "score", "x1", "y1", "x2", "y2"]
    red = table[table["class"] == "red"].iloc[0]
    assert [red.x1, red.y1, red.x2, red.y2] == pytest.approx([8, 16, 16, 24], abs=1e-3)
    assert set(table["file"]) == {str(file)} and table["score"].tolist() == found.scores.tolist()
    empty = result_of(np.zeros_like(IMAGE)).to_pandas()
    assert list(empty.columns) == list(table.columns) and len(empty) == 0
    assert len(pandas.concat([table, empty])) == 2


def test_supervision_gets_the_boxes_with_their_names(file: Path) -> None:
    pytest.importorskip("supervision")
    found = result_of(file)
    converted = found.to_supervision()
    assert np.array_equal(converted.xyxy, found.boxes) and np.array_equal(converted.confidence, found.scores)
    assert converted.class_id.tolist() == found.class_ids.tolist()
    assert converted.data["class_name"].tolist() == [NAMES[class_id] for class_id in found.class_ids]
    assert len(result_of(np.zeros_like(IMAGE)).to_supervision()) == 0


@pytest.mark.parametrize(
    ("package", "method", "command"),
    [("pandas", "to_pandas", "onelook[results]"), ("supervision", "to_supervision", "supervision>=0.31")],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package: str, method: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = result_of(IMAGE)
    monkeypatch.setitem(sys.modules, package, None)
    told = re.escape(f'`{package}` is not installed\nhint: pip install "{command}"')
    with pytest.raises(SettingsError, match=told):
        getattr(found, method)()


@pytest.mark.parametrize("weights", [None, 3, [], ["a.pt", None]])
def test_weights_that_are_no_paths_are_an_error(weights: Any) -> None:
    with pytest.raises(SettingsError, match="neither a path nor a list of paths"):
        onelook.load(weights)


def test_notebooks_show_the_drawn_image(file: Path) -> None:
    shown = result_of(file)._repr_png_()
    assert shown.startswith(b"\x89PNG")
