"""Settings of validation, and of detection with several weights or views; each test fails if its setting is ignored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_runs import Home, texts
from option_runs import Options, covers, fit
from test_options_val_detect import SIDE_PX, inputs_of, look, measure

import onelook
from onelook.cli.main import main
from onelook.errors import ModelError, SettingsError
from onelook.geometry.iou import box_iou
from onelook.models.detector import create_model
from onelook.runs.checkpoint import save_checkpoint
from onelook.settings.validate import ValidateSettings
from onelook.structures.coco_classes import COCO_NAMES
from onelook.structures.detections import Detections


@pytest.fixture(scope="module")
def other(fixed: Options, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the same classes as those of the group that find other things."""
    options: Options = {**fixed, "project": tmp_path_factory.mktemp("other"), "epochs": 3, "batch_size": 4}
    return fit(options, weights=tiny_weights, cfg="", lr0=0.05).result.best


def same(one: Detections, other: Detections) -> bool:
    return len(one) == len(other) and np.allclose(one.boxes, other.boxes, atol=1e-3)


@covers("detect", "augment")
def test_augmented_detection_looks_three_times(home: Home) -> None:
    assert inputs_of(look, home, augment=True, imgsz=[96]) == [(4, 3, 96, 96), (4, 3, 96, 96), (4, 3, 64, 64)]
    usual, augmented = (look(home, augment=augment).frames[0].detections for augment in (False, True))
    assert not same(usual, augmented)


@covers("detect", "weights")
def test_several_weights_detect_as_one(home: Home, other: Path) -> None:
    found = [
        look(home, weights=weights, iou_thres=1.0, max_det=100_000).frames[0].detections
        for weights in (home.weights, [other], [home.weights, str(other)])
    ]
    assert len(found[0]) + len(found[1]) == len(found[2]), "nothing is removed"
    assert len(look(home, weights=[home.weights, home.weights], iou_thres=0.99).frames[0].detections) == len(
        look(home, iou_thres=0.99).frames[0].detections
    ), "twice the same is once"


def test_weights_of_other_classes_are_no_ensemble(home: Home, options: Options) -> None:
    one = fit(options, single_cls=True).result.best
    with pytest.raises(ModelError, match=r"have 2 classes, `.*best\.safetensors` has 1"):
        look(home, weights=[home.weights, one])


def test_exports_of_any_size_are_augmented_and_those_of_one_size_are_refused(home: Home) -> None:
    exported = {
        dynamic: onelook.export(home.weights, format="torchscript", imgsz=64, device="cpu", dynamic=dynamic,
                                output=home.work / str(dynamic)).exports[0].path
        for dynamic in (True, False)
    }  # fmt: skip
    expected = look(home, augment=True).frames[0].detections
    assert same(look(home, weights=exported[True], augment=True).frames[0].detections, expected)
    with pytest.raises(SettingsError, match="exported for 64 x 64 only"):
        look(home, weights=exported[False], augment=True)


@covers("val", "augment")
def test_augmented_validation_looks_three_times(home: Home) -> None:
    assert inputs_of(measure, home, augment=True) == [(6, 3, 96, 96), (6, 3, 96, 96), (6, 3, 64, 64)]
    usual, augmented = (measure(home, augment=augment).evaluation.detections for augment in (False, True))
    assert not same(usual[0], augmented[0])


@covers("val", "weights")
def test_several_weights_are_validated_as_one(home: Home, other: Path, options: Options) -> None:
    free: Options = {"iou_thres": 1.0, "max_det": 100_000}
    one, two, both = (
        measure(home, weights=weights, **free).evaluation.detections
        for weights in (home.weights, [other], [home.weights, other])
    )
    assert [len(a) + len(b) for a, b in zip(one, two, strict=True)] == [len(found) for found in both]
    single = fit(options, single_cls=True).result.best
    with pytest.raises(ModelError, match=r"have 2 classes, `.*best\.safetensors` has 1"):
        measure(home, weights=[home.weights, single])


@pytest.mark.slow
def test_several_processes_validate_as_one_does(home: Home, other: Path) -> None:
    words = ["--augment", "--save-txt", "--save-conf", "--batch-size", 1, "--noplots"]
    weights = [home.weights, other]
    alone = measure(home, weights=weights, augment=True, save_txt=True, save_conf=True, batch_size=1)
    given = ["--weights", *weights, "--data", home.yaml, "--imgsz", 64, "--workers", 0, "--device", "cpu"]
    assert main(texts("val", *given, *words, "--nproc", 2, "--name", "shared")) == 0
    shared = Path("runs/val/shared")
    for number in range(6):
        name = f"labels/{number:03}.txt"
        assert (shared / name).read_text() == (alone.run_folder / name).read_text() != ""
    numbers = json.loads((shared / "metrics.json").read_text())
    assert numbers["map50_95"] == alone.metrics.map50_95


@covers("val", "half")
def test_half_needs_a_gpu(home: Home) -> None:
    with pytest.raises(SettingsError, match="`half` needs a GPU, the device is `cpu`\nhint: drop `half`"):
        measure(home, half=True)


@covers("val", "save_txt", "save_conf")
def test_text_labels_are_the_detections(home: Home) -> None:
    other = home.data / "images" / "val" / "more"
    other.mkdir()
    shutil.copy(home.image("val"), other / "000.jpg")
    assert not (measure(home).run_folder / "labels").exists()
    for scores in (False, True):
        result = measure(home, save_txt=True, save_conf=scores, max_det=5, allow_unlabelled=True)
        written = sorted((result.run_folder / "labels").iterdir())
        assert [path.stem for path in written] == ["000", "000_2", *(f"{number:03}" for number in range(1, 6))]
        assert (written[0].read_text(), 5) == (written[1].read_text(), len(written[0].read_text().splitlines()))
        first = result.evaluation.detections[0]
        class_id, x, y, width, height, *score = map(float, written[0].read_text().splitlines()[0].split())
        left, right = (SIDE_PX * (x + sign * width / 2) for sign in (-1, 1))
        assert (class_id, left, right) == pytest.approx((first.class_ids[0], *first.boxes[0, [0, 2]]), abs=1e-3)
        assert score == pytest.approx([first.scores[0]] if scores else [], abs=1e-5) and 0 < y < 1 and height > 0
    with pytest.raises(SettingsError, match="`save_conf` has no effect"):
        measure(home, save_conf=True)


@covers("val", "save_hybrid")
def test_hybrid_labels_are_the_labels_and_what_is_found_beside_it(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    plain = measure(home, iou_thres=0.3)
    result = measure(home, save_hybrid=True, save_conf=True, iou_thres=0.3)
    assert "the numbers are not those of the model" in caplog.text
    own = np.loadtxt(home.label("val"), ndmin=2)
    rows = np.loadtxt(result.run_folder / "labels" / "000.txt", ndmin=2)
    certain = rows[rows[:, 5] == 1]
    np.testing.assert_allclose(certain[np.lexsort(certain.T[:2])][:, :5], own[np.lexsort(own.T[:2])], atol=1e-4)
    assert result.metrics.recall > 0.99 > plain.metrics.recall, "every label is found"
    corners = torch.from_numpy(own[:, 1:3] - own[:, 3:] / 2), torch.from_numpy(own[:, 1:3] + own[:, 3:] / 2)
    others = torch.from_numpy(result.evaluation.detections[0].boxes[len(own) :] / SIDE_PX).double()
    overlap = box_iou(torch.cat(corners, dim=1), others).numpy()
    same_class = own[:, :1] == result.evaluation.detections[0].class_ids[len(own) :]
    assert len(others) and np.where(same_class, overlap, 0).max() <= 0.3 + 1e-4, (
        "NMS keeps the label and drops what is found there"
    )


def test_json_of_coco_has_its_own_ids(home: Home, tiny_model: Path) -> None:
    names = ", ".join(COCO_NAMES)
    home.describe(f"path: .\ntrain: images/train\nval: images/val\nnames: [{names}]\n")
    (home.data / "labels" / "val" / "000.txt").write_text("79 .5 .5 .2 .2\n")
    for folder, suffix in (("images", "jpg"), ("labels", "txt")):
        place = home.data / folder / "val"
        (place / f"000.{suffix}").rename(place / f"000000397133.{suffix}")
    weights = home.work / "coco.safetensors"
    model = create_model(tiny_model, names=COCO_NAMES)
    tensors = {f"ema/{name}": tensor for name, tensor in model.state_dict().items()}
    document = {"kind": "detector", "names": list(COCO_NAMES), "definition": model.definition}
    save_checkpoint(weights, tensors, document)
    folder = measure(home, weights=weights, save_json=True, conf_thres=1e-5).run_folder
    dataset = json.loads((folder / "coco_truth.json").read_text())
    found = json.loads((folder / "coco_predictions.json").read_text())
    image = next(image for image in dataset["images"] if image["id"] == 397133)
    assert image == {"id": 397133, "file_name": "000000397133.jpg", "height": SIDE_PX, "width": SIDE_PX}
    assert [row["category_id"] for row in dataset["annotations"] if row["image_id"] == 397133] == [90]
    assert {"id": 90, "name": "toothbrush"} in dataset["categories"] and len(dataset["categories"]) == 80
    assert {row["image_id"] for row in found} <= {1, 2, 3, 4, 5, 397133}
    assert max(row["category_id"] for row in found) > 80


def test_json_of_other_datasets_has_numbers_from_0(home: Home) -> None:
    folder = measure(home, save_json=True).run_folder
    dataset = json.loads((folder / "coco_truth.json").read_text())
    assert [image["id"] for image in dataset["images"]] == list(range(6))
    assert dataset["categories"] == [{"id": 0, "name": "square"}, {"id": 1, "name": "disc"}]


@covers("val", "task")
def test_speed_measures_each_of_the_weights_at_the_thresholds_of_detection(home: Home) -> None:
    result = measure(home, task="speed", weights=[home.weights, home.weights])
    assert [(one.weights, one.imgsz) for one in result.measurements] == [(home.weights, 64)] * 2
    assert inputs_of(measure, home, task="speed") == [(1, 3, 64, 64), (6, 3, 64, 64)], "a first one, and no border"
    entries = json.loads((result.run_folder / "speed.json").read_text())
    assert [entry["num_images"] for entry in entries] == [6, 6]
    assert all(entry["milliseconds_per_image"]["inference"] > 0 for entry in entries)
    settings = ValidateSettings(weights=[home.weights], task="speed")
    assert (settings.conf_thres, settings.iou_thres) == (0.25, 0.45)
    assert ValidateSettings(weights=[home.weights], task="speed", conf_thres=0.1).conf_thres == 0.1


@covers("val", "task")
def test_a_study_goes_through_the_sizes(home: Home, other: Path) -> None:
    weights = [home.weights, other]
    result = measure(home, task="study", weights=weights, imgsz=384, noplots=False)
    assert [one.imgsz for one in result.measurements] == [256, 384, 256, 384]
    assert {path.name for path in result.run_folder.iterdir()} == {
        "labels.json", "study.png", "study_data_best.txt", "study_data_best_2.txt",
    }  # fmt: skip
    rows = np.loadtxt(result.run_folder / "study_data_best.txt")
    assert rows.shape == (2, 10) and (rows[:, 4:7] == 0).all() and (rows[:, 7:] > 0).all()
    assert rows[:, 3] == pytest.approx([one.metrics.map50_95 for one in result.measurements[:2]], rel=1e-3)
    assert rows[1, 3] == pytest.approx(measure(home, imgsz=384).metrics.map50_95, rel=1e-2)
    assert not (measure(home, task="study", imgsz=256).run_folder / "study.png").exists()
    assert ValidateSettings(weights=weights, task="study").sizes == tuple(range(256, 1537, 128))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "study", "imgsz": 320}, "a study ends at 256 or some steps of 128 above it\nhint: use 256"),
        ({"task": "study", "imgsz": 64}, "hint: use 256"),
        ({"task": "speed", "save_txt": True}, "`save_txt` has no effect with task `speed`"),
        ({"task": "study", "save_json": True}, "`save_json` has no effect with task `study`"),
        ({"task": "speed", "nproc": 2}, "task `speed` measures times"),
        ({"task": "speed", "device": "0,1"}, "hint: use one device"),
    ],
    ids=str,
)
def test_series_refuse_what_they_would_ignore(home: Home, changes: Options, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        measure(home, **changes)


@covers("val", "verbose")
def test_many_classes_are_shown_on_demand(
    home: Home, tiny_model: Path, options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"kind{number}" for number in range(50)]
    home.describe(f"path: .\ntrain: images/train\nval: images/val\nnames: [{', '.join(names)}]\n")
    weights = fit(options, data=home.yaml).result.best
    for words, shown in (([], False), (["--verbose"], True)):
        assert main(home.val("--weights", weights, *words)) == 0
        out = capsys.readouterr().out
        assert ("kind1 " in out) is shown and ("`--verbose` shows the 2 classes" in out) is not shown


@pytest.mark.gpu
@pytest.mark.parametrize("changes", [{}, {"augment": True}, {"task": "speed"}], ids=str)
def test_validation_in_16_bits_is_close_to_that_in_32(home: Home, changes: Options) -> None:
    exact, rough = (measure(home, device="0", half=half, **changes) for half in (False, True))
    assert rough.metrics.map50_95 == pytest.approx(exact.metrics.map50_95, abs=0.05)
    assert rough.evaluation.milliseconds["inference"] > 0
