"""Weights of YOLOv5 in every command: converted, trained on, validated, used for detection."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from command_runs import Home, run, state_of, texts
from option_runs import Options, fit
from yolov5_files import DATE, Look, halved, stripped, trained, unstripped

from onelook.api import load
from onelook.files.images import read_image
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.models.convolutions import Conv
from onelook.models.detector import DetectionModel
from onelook.recipes.detect import detect
from onelook.recipes.validate import validate
from onelook.runs.checkpoint import load_checkpoint, save_checkpoint
from onelook.settings.train import TrainSettings
from onelook.training.weights import load_detector, starting_model


def is_fused(model: DetectionModel) -> bool:
    return all(module.bn is None for module in model.modules() if isinstance(module, Conv))


@pytest.fixture(scope="module")
def detector(tiny_weights: Path) -> DetectionModel:
    """The trained tiny model, rounded as a file of YOLOv5 rounds it."""
    model = load_detector(tiny_weights)
    model.load_state_dict(halved(model))
    return model


@pytest.fixture
def weights(detector: DetectionModel, home: Home) -> Path:
    return home.file("bees.pt", stripped(detector, Look(names_as_mapping=True)))


def test_convert_writes_the_same_detector(
    weights: Path, detector: DetectionModel, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(texts("convert", weights), capsys)
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        f"weights, written {DATE}: {parameters:,} parameters, 2 classes (square, disc)\n"
        f"all 43 tensors are in {weights.with_suffix('.safetensors')}\n"
    )
    checkpoint = load_checkpoint(home.work / "bees.safetensors")
    assert checkpoint.tensors_below("ema/").keys() == detector.state_dict().keys()
    for name, tensor in detector.state_dict().items():
        assert torch.equal(checkpoint.tensors[f"ema/{name}"], tensor), name
    document = checkpoint.document
    assert (document["kind"], document["names"]) == ("detector", ["square", "disc"])
    assert document["source"].items() >= {"file": "bees.pt", "part": "model", "epoch": -1, "date": DATE}.items()
    image = home.image()
    one, two = (load(path, device="cpu", imgsz=[64], conf_thres=0.001) for path in (weights, "bees.safetensors"))
    assert (one(image).boxes == two(image).boxes).all() and len(one(image)) > 0


def test_convert_says_what_an_unfinished_run_holds(
    detector: DetectionModel, tiny_model: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"kind {number}" for number in range(12)]
    model, average = (trained(tiny_model, names, seed=seed) for seed in (1, 2))
    path = home.file("last.pt", unstripped(model, average))
    outcome = run(texts("convert", path, "--out", "other.safetensors"), capsys)
    assert outcome.code == 0 and outcome.out.startswith(f"averaged weights after epoch 7, written {DATE}: ")
    assert "12 classes (kind 0, " in outcome.out and "kind 9, ...)" in outcome.out
    assert torch.equal(
        load_checkpoint(Path("other.safetensors")).tensors["ema/model.0.conv.weight"],
        average.state_dict()["model.0.conv.weight"],
    )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("none.pt",), 3, "weights `none.pt` do not exist"),
        (("bees.onnx",), 3, "`bees.onnx` does not have the suffix of a YOLOv5 or Onelook checkpoint"),
        (("bees.safetensors",), 64, "`bees.safetensors` is a checkpoint of Onelook already"),
        (("bees.safetensors", "--fuse"), 3, "checkpoint `bees.safetensors` does not exist"),
        (("taken.safetensors", "--half"), 3, "checkpoint `taken.safetensors` is damaged or not"),
        (("taken.safetensors", "--half", "--out", "taken.safetensors", "--exist-ok"), 64, "the file itself"),
        (("bees.pt", "--out", "x.pt"), 64, "`out` is `x.pt`, which does not end in .safetensors"),
        (("bees.pt", "--out", "taken.safetensors"), 64, "`taken.safetensors` already exists"),
        (("bees.pt", "--out", "no/x.safetensors"), 74, "no/x.safetensors`: No such file"),
        (("broken.pt",), 3, "weights `broken.pt` cannot be used: its end is missing"),
    ],
)
def test_convert_refuses_in_one_line_and_writes_nothing(
    weights: Path, words: tuple[str, ...], code: int, says: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.file("taken.safetensors", "mine")
    home.file("broken.pt", weights.read_bytes()[:-30])
    before = state_of(home.work)
    outcome = run(texts("convert", *words), capsys)
    assert outcome.code == code and says in outcome.err and outcome.err.count("error: ") == 1
    assert state_of(home.work).keys() == before.keys() and Path("taken.safetensors").read_bytes() == b"mine"


def test_convert_replaces_only_when_asked(weights: Path, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    path = home.file("bees.safetensors", "old")
    assert run(texts("convert", weights, "--exist-ok"), capsys).code == 0
    assert load_checkpoint(path).document["kind"] == "detector"


def test_validation_and_detection_take_them_as_they_are(weights: Path, home: Home) -> None:
    assert run_quietly(home, "convert", weights) == 0
    fixed = {"imgsz": 64, "device": "cpu"}
    found = []
    for path in (weights, home.work / "bees.safetensors"):
        result = validate({"weights": path, "data": home.yaml, "workers": 0, "noplots": True, **fixed})
        seen = detect({"weights": path, "source": home.image(), "nosave": True, "conf_thres": 0.001, **fixed})
        found.append((result.metrics.map50_95, [tuple(box) for box in seen.frames[0].detections.boxes.tolist()]))
    assert found[0] == found[1] and found[0][1]


def run_quietly(home: Home, *words: object) -> int:
    from onelook.cli.main import main

    return main(texts(*words))


def test_a_run_starts_from_them(
    weights: Path, detector: DetectionModel, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "onelook"):
        run = fit(options, weights=weights, cfg="", lr0=1e-12)
    assert "43 of 43" in caplog.text
    trained_tensors, given = run.tensors("model/"), detector.state_dict()
    learned = [name for name in given if name.endswith(("conv.weight", "m.0.bias", "anchors"))]
    assert all(torch.allclose(trained_tensors[name], given[name], atol=1e-6) for name in learned)


def test_a_run_from_them_is_the_run_from_what_convert_wrote(weights: Path, home: Home, options: Options) -> None:
    assert run_quietly(home, "convert", weights) == 0
    one, two = (fit(options, weights=path, cfg="") for path in (weights, home.work / "bees.safetensors"))
    assert one.bits == two.bits


@pytest.mark.parametrize(
    ("changes", "names", "copied", "classes", "anchors"),
    [
        ({}, ("square", "disc"), 43, (), "theirs"),
        ({}, ("disc", "star", "square"), 43, ("disc", "square"), "theirs"),
        ({}, ("star", "moon", "sun"), 37, (), "theirs"),
        ({"cfg": "other"}, ("square", "disc"), 42, (), "of cfg"),
        ({"anchors": 3.0}, ("square", "disc"), 42, (), "new"),
    ],
)
def test_anchors_and_classes_follow_the_rules(
    changes: Options, names: tuple[str, ...], copied: int, classes: tuple[str, ...], anchors: str, weights: Path,
    detector: DetectionModel, tiny_model: Path, home: Home,
) -> None:  # fmt: skip
    if "cfg" in changes:
        text = tiny_model.read_text().replace("[6, 6, 10, 10, 14, 14]", "[5, 5, 9, 9, 13, 13]")
        changes = {"cfg": str(home.file("other.yaml", text))}
    start = starting_model(TrainSettings(weights=str(weights), **changes), names)
    assert start.report is not None and (start.report.copied, start.report.classes) == (copied, classes)
    assert start.has_new_anchors == (anchors != "theirs") and start.model.names == names
    finest = start.model.anchor_grid.anchors[0]
    assert torch.equal(finest, detector.anchor_grid.anchors[0]) == (anchors == "theirs")
    assert (finest[0].tolist() == [5, 5]) == (anchors == "of cfg")
    assert start.label == ("other" if anchors == "of cfg" else "bees")


def answers(path: Path, image: Path) -> list[float]:
    """What a checkpoint finds in an image, as one list of numbers."""
    predictor = Predictor(load_detector(path), PredictionSettings(imgsz=64, conf_thres=0.001, max_det=20))
    found = predictor.predict([read_image(image)])[0]
    return [*found.boxes.flatten().tolist(), *found.scores.tolist()]


@pytest.mark.parametrize(
    ("words", "name", "share", "tolerance"),
    [
        (("--ema-only",), "last-ema", 0.4, 0.0),
        (("--fuse",), "last-fused", 0.4, 1e-3),
        (("--half",), "last-half", 0.25, 0.5),
        (("--fuse", "--half"), "last-fused-half", 0.25, 0.5),
    ],
)
def test_convert_makes_checkpoints_of_ours_smaller(
    words: tuple[str, ...], name: str, share: float, tolerance: float, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    last = home.file("last.safetensors", home.weights.with_name("last.safetensors").read_bytes())
    outcome = run(texts("convert", last, *words), capsys)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("averaged weights after epoch 0: ")
    path = last.with_name(f"{name}.safetensors")
    assert f" tensors are in {path}\n" in outcome.out
    before, after = load_checkpoint(last), load_checkpoint(path)
    assert path.stat().st_size < share * last.stat().st_size
    assert {tensor_name.split("/")[0] for tensor_name in after.tensors} == {"ema"}
    assert after.document["settings"] == before.document["settings"]
    assert after.document["source"]["file_sha256"] == hashlib.sha256(last.read_bytes()).hexdigest()
    image = home.image()
    assert answers(path, image) == pytest.approx(answers(last, image), abs=tolerance)
    if "--fuse" in words:
        assert not any(".bn." in tensor_name for tensor_name in after.tensors)
        assert is_fused(load_detector(path))
    weight = after.tensors["ema/model.0.conv.weight"]
    assert weight.dtype == (torch.float16 if "--half" in words else torch.float32)
    assert after.tensors["ema/model.6.anchors"].dtype == torch.float32


def test_fused_checkpoint_serves_everything_and_is_given_norms_for_training(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    best = home.file("best.safetensors", home.weights.read_bytes())
    assert run(texts("convert", best, "--fuse"), capsys).code == 0
    fused = best.with_name("best-fused.safetensors")
    assert run(home.val("--weights", fused), capsys).code == 0
    assert run(home.detect("--weights", fused), capsys).code == 0
    assert run(texts("convert", fused, "--half"), capsys).code == 0
    assert is_fused(load_detector(fused.with_name("best-fused-half.safetensors")))
    assert run(texts("info", fused), capsys).out.count("is fused: True") == 1
    outcome = run(home.train("--weights", fused, "--cfg", ""), capsys)
    assert outcome.code == 0 and "have no batch norms: new ones are computed from training images" in outcome.out
    assert not is_fused(load_detector(home.work / "runs/train/exp/weights/last.safetensors"))


def test_convert_fuses_and_halves_what_comes_from_yolov5(
    weights: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(texts("convert", weights, "--fuse", "--half", "--ema-only"), capsys).code == 0
    path = weights.with_name("bees-fused-half.safetensors")
    assert is_fused(load_detector(path)) and load_checkpoint(path).document["source"]["file"] == "bees.pt"
    image = home.image()
    assert answers(path, image) == pytest.approx(answers(weights, image), abs=0.5)


def test_weight_too_large_for_16_bits_is_refused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = load_checkpoint(home.weights)
    checkpoint.tensors["ema/model.0.conv.weight"][0, 0, 0, 0] = 70_000
    document = {key: value for key, value in checkpoint.document.items() if key != "sha256"}
    save_checkpoint(home.work / "large.safetensors", checkpoint.tensors, document)
    outcome = run(texts("convert", "large.safetensors", "--half"), capsys)
    assert (outcome.code, "a weight of 70000, too large for 16 bits" in outcome.err) == (64, True)
    assert not Path("large-half.safetensors").exists()
