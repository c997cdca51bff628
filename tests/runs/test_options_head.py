"""The choice of a branch of the head, seen in what each command does, and a training of the first branch alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colours import NAMES, checkpoint_of, write_data
from http_asking import ask
from option_runs import covers

import onelook
from onelook.errors import ModelError
from onelook.models.detector import create_model
from onelook.recipes.detect import detect
from onelook.recipes.export import export
from onelook.recipes.serve import serving
from onelook.recipes.train import train
from onelook.recipes.validate import validate
from onelook.training.weights import load_detector

TABLE: dict[str, Any] = {
    "backbone": [[-1, 1, "Conv", [8, 3, 4]], [-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]]],
    "head": [[[1, 2], 1, "Look", ["nc", 8, 8]]],
    "nc": 2,
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return write_data(tmp_path / "data")


@pytest.fixture
def weights(data: Path, tmp_path: Path) -> Path:
    """An untrained model with two branches, each of which finds other things."""
    return checkpoint_of(create_model(TABLE, names=NAMES), tmp_path / "best.safetensors")


@covers("val", "head")
def test_val_measures_the_branch_that_it_is_asked_for(weights: Path, data: Path) -> None:
    asked = {"weights": weights, "data": data, "imgsz": 64, "workers": 0, "device": "cpu", "noplots": True}
    found = {
        head: validate({**asked, "head": head}).evaluation.detections[0].scores for head in ("auto", "many", "one")
    }
    assert np.array_equal(found["auto"], found["many"])
    assert not np.array_equal(found["one"], found["many"])


def test_weights_that_are_measured_each_alone_may_have_the_branch_without_nms(weights: Path, data: Path) -> None:
    better = checkpoint_of(create_model(TABLE, names=NAMES), weights.with_name("better.safetensors"), branch="one")
    asked = {"weights": [weights, better], "data": data, "task": "speed", "imgsz": 64, "workers": 0, "device": "cpu"}
    assert [validate({**asked, "head": head}).evaluation.branch for head in ("one", "auto", "many")] == [
        "one",
        "one",
        "many",
    ]


@covers("detect", "head")
def test_detect_uses_the_branch_that_it_is_asked_for(weights: Path, data: Path, tmp_path: Path) -> None:
    asked = {"weights": weights, "source": str(data.parent / "images/val/0.png"), "imgsz": 64, "device": "cpu"}
    texts = {}
    for head in ("many", "one"):
        detect({**asked, "conf_thres": 0.001, "save_txt": True, "project": tmp_path / head, "head": head})
        (label,) = (tmp_path / head).rglob("*.txt")
        texts[head] = label.read_text()
    assert texts["many"] != texts["one"]


@covers("export", "head")
def test_an_export_holds_the_branch_that_it_is_asked_for(weights: Path, data: Path, tmp_path: Path) -> None:
    for head, needs_nms in (("many", True), ("one", False)):
        (made,) = export(
            {"weights": weights, "imgsz": 64, "format": "torchscript", "head": head, "output": str(tmp_path / head)}
        ).exports
        assert json.loads(made.report.read_text())["metadata"]["needs_nms"] is needs_nms
        validate({"weights": made.path, "data": data, "imgsz": 64, "workers": 0, "noplots": True, "head": head})
    with pytest.raises(ModelError, match="has no branch `many`\nhint: export the checkpoint again with `--head many`"):
        validate({"weights": made.path, "data": data, "imgsz": 64, "workers": 0, "noplots": True, "head": "many"})


@covers("benchmark", "head")
def test_a_benchmark_measures_the_branch_that_it_is_asked_for(weights: Path) -> None:
    result = onelook.benchmark(weights=weights, imgsz=64, format="torchscript", rounds=1, head="one", device="cpu")
    assert (
        json.loads((result.run_folder / "best.torchscript.report.json").read_text())["metadata"]["needs_nms"] is False
    )


@covers("serve", "head")
def test_a_service_uses_the_branch_that_it_is_asked_for(weights: Path, data: Path) -> None:
    image = (data.parent / "images/val/0.png").read_bytes()
    replies = {}
    for head in ("many", "one"):
        with serving(
            {"weights": weights, "port": 0, "imgsz": 64, "device": "cpu", "conf_thres": 0.001, "head": head}
        ) as s:
            replies[head] = ask(s.url, "POST", "/detect", image, content_type="image/png").json["detections"]
    assert replies["many"] != replies["one"]


@covers("train", "no_one")
@pytest.mark.parametrize("no_one", [False, True])
def test_a_training_has_a_second_branch_unless_told_otherwise(no_one: bool, data: Path, tmp_path: Path) -> None:
    result = train(
        {
            "data": data, "cfg": _written(tmp_path), "epochs": 1, "imgsz": 64, "batch_size": 3, "workers": 0,
            "device": "cpu", "noplots": True, "noreport": True, "no_one": no_one,
        }
    )  # fmt: skip
    assert ("metrics/one_mAP_0.5" in (result.run_folder / "results.csv").read_text()) is not no_one


def test_a_run_from_scratch_expects_classes_as_often_as_they_are_labelled(data: Path, tmp_path: Path) -> None:
    rows = [row for file in (data.parent / "labels/train").iterdir() for row in file.read_text().splitlines()]
    result = train(
        {
            "data": data, "cfg": _written(tmp_path), "epochs": 1, "imgsz": 64, "workers": 0, "device": "cpu",
            "noplots": True, "noreport": True, "optimizer": "SGD", "lr0": 1e-9, "warmup_bias_lr": 0.0,
        }
    )  # fmt: skip
    shares = [sum(row.startswith(f"{class_id} ") for row in rows) / 6 * 4 / 8400 for class_id in (0, 1)]
    for convolution in load_detector(result.last).model[-1].cls_preds:
        assert convolution.bias.sigmoid().tolist() == pytest.approx(shares, rel=1e-4)


@covers("train", "cls_softmax")
def test_telling_classes_apart_adds_to_the_class_term_in_proportion(data: Path, tmp_path: Path) -> None:
    runs = [
        train(
            {
                "data": data, "cfg": _written(tmp_path), "epochs": 1, "imgsz": 64, "workers": 0, "device": "cpu",
                "noval": True, "noplots": True, "noreport": True, "optimizer": "SGD", "lr0": 1e-9,
                "warmup_bias_lr": 0.0, "cls_softmax": weight,
            }
        )
        for weight in (0.0, 2.0, 4.0)
    ]  # fmt: skip
    terms = [run.outcome.history[0]["train/cls_loss"] for run in runs]
    assert terms[2] - terms[1] == pytest.approx(terms[1] - terms[0], rel=1e-3) and terms[1] > terms[0]


def _written(folder: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(TABLE))
    return path
