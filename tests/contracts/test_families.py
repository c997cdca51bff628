"""What every family of detectors has to do, whatever its head and loss: the same tests for all of them."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from http_asking import ask, found_by_library
from option_runs import fit
from rank_runs import differences, trained
from small_models import TABLES, write_table
from stop_at import StopAt

from onelook.errors import ModelError, SettingsError, StopRequested
from onelook.inference.ensemble import assembled
from onelook.models.detector import create_model
from onelook.recipes.check import check
from onelook.recipes.detect import detect
from onelook.recipes.evolve import evolve
from onelook.recipes.export import export
from onelook.recipes.info import info
from onelook.recipes.report import report
from onelook.recipes.serve import serving
from onelook.recipes.train import TrainResult, train
from onelook.recipes.validate import validate
from onelook.reports.plots.results import plot_results
from onelook.runs.checkpoint import load_checkpoint, save_checkpoint
from onelook.training.families import FAMILIES
from onelook.training.weights import load_detector

Settings = dict[str, Any]


def test_every_family_is_here() -> None:
    assert set(TABLES) == set(FAMILIES)


# Detect is the head of all other runs in these tests, and Segment has its loss and its box head.
@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) if name in ("Detect", "Segment") else name for name in TABLES],
)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# For commands that only train or predict: `test_ways_to_train_work` and `test_images_are_predicted_whole_and_in_tiles`
# do so with every head.
WITH_ONE_HEAD = pytest.mark.parametrize(
    "family",
    [name if name == "YoloX" else pytest.param(name, marks=pytest.mark.slow) for name in TABLES],
    indirect=True,
    scope="module",
)


@pytest.fixture(scope="module")
def settings(family: str, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two epochs of three batches, with steps so large that few scores stay alike: their order has to count."""
    table = write_table(family, tmp_path_factory.mktemp(family))
    fixed = {"imgsz": 64, "batch_size": 8, "workers": 0, "device": "cpu", "noplots": True, "noreport": True}
    return {"data": tiny_data, "cfg": table, "epochs": 2, "optimizer": "AdamW", "lr0": 0.01, **fixed}


@pytest.fixture(scope="module")
def run(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train({**settings, "project": tmp_path_factory.mktemp("runs")})


def test_a_run_writes_the_terms_of_its_loss(run: TrainResult) -> None:
    with (run.run_folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    terms = [name.removeprefix("train/") for name in rows[0] if name.startswith("train/")]
    assert {"box_loss", "cls_loss"} <= set(terms) and len(rows) == 2
    assert terms == [name.removeprefix("val/") for name in rows[0] if name.startswith("val/")]
    assert all(math.isfinite(float(cell)) for row in rows for cell in row.values())


@WITH_ONE_HEAD
def test_the_terms_of_a_loss_are_drawn(run: TrainResult, tmp_path: Path) -> None:
    assert plot_results(run.outcome.history, tmp_path / "results.png").stat().st_size > 10_000


def test_a_stopped_run_ends_as_the_undisturbed_one(settings: Settings, run: TrainResult, tmp_path: Path) -> None:
    with pytest.raises(StopRequested):
        train({**settings, "project": tmp_path}, callbacks=[StopAt(4)])
    train({"resume": str(tmp_path / "exp")})
    assert differences(run.run_folder, tmp_path / "exp") == []


def test_two_processes_give_the_bits_of_one(settings: Settings, tmp_path: Path) -> None:
    wanted = {**settings, "epochs": 1}
    one = trained(1, {**wanted, "micro_batch": 4}, tmp_path / "one")
    two = trained(2, wanted, tmp_path / "two")
    assert differences(one, two) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"freeze": [3], "multi_scale": True, "quad": True},
        pytest.param({"rect": True, "single_cls": True}, marks=pytest.mark.slow),  # a matter of the frames alone
    ],
    ids=str,
)
def test_ways_to_train_work(changes: Settings, settings: Settings, tmp_path: Path) -> None:
    found = fit({**settings, "epochs": 1, "project": tmp_path}, **changes)
    assert all(math.isfinite(value) for value in found.row.values())
    if "freeze" in changes:
        start = create_model(settings["cfg"], one_to_one=True).state_dict()
        moved = {name.split(".")[1] for name, tensor in found.tensors("model/").items() if tensor.ne(start[name]).any()}
        assert moved == {"3", "4", "5", "6"}


@WITH_ONE_HEAD
def test_weights_start_a_run_with_other_classes(run: TrainResult, settings: Settings, tmp_path: Path) -> None:
    data = tmp_path / "data.yaml"
    folder = Path(settings["data"]).parent
    data.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [triangle, disc]\n")
    again = train({**settings, "cfg": "", "data": data, "weights": run.best, "epochs": 1, "project": tmp_path / "runs"})
    assert load_detector(again.best).names == ("triangle", "disc")


def test_both_branches_of_a_head_are_measured_and_the_better_is_taken(
    run: TrainResult, settings: Settings, tmp_path: Path
) -> None:
    asked = {"data": settings["data"], "imgsz": 64, "workers": 0, "device": "cpu", "noplots": True, "weights": run.best}
    found = {
        head: validate({**asked, "head": head, "project": tmp_path / head}).metrics.map50_95
        for head in ("auto", "many")
    }
    document = load_checkpoint(run.best).document
    with (run.run_folder / "results.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[document["metrics"]["epoch"]]
    if "metrics/one_mAP_0.5" not in row:
        assert "better branch in validation" not in info({"weights": run.best}).facts
        assert found["auto"] == found["many"]
        with pytest.raises(ModelError, match="no branch `one`"):
            validate({**asked, "head": "one", "project": tmp_path / "one"})
        return
    found["one"] = validate({**asked, "head": "one", "project": tmp_path / "one"}).metrics.map50_95
    assert found["auto"] == found[document["branch"]]
    better = info({"weights": run.best}).facts["better branch in validation"]
    assert better.startswith(document["branch"]) and ("no NMS" in better) == (document["branch"] == "one")
    for branch in ("many", "one"):
        assert found[branch] == pytest.approx(float(row[f"metrics/{branch}_mAP_0.5:0.95"]), abs=1e-3)
    with pytest.raises(SettingsError, match="need NMS"):
        validate({**asked, "head": "one", "augment": True, "project": tmp_path / "augmented"})


# What ONNX Runtime and OpenVINO read of each head is compared in `tests/exports/test_layouts.py`.
@pytest.mark.parametrize(
    "name", ["torchscript", *(pytest.param(name, marks=pytest.mark.slow) for name in ("onnx", "openvino"))]
)
def test_an_exported_model_measures_like_its_checkpoint(
    name: str, run: TrainResult, settings: Settings, tmp_path: Path
) -> None:
    best = load_checkpoint(run.best)
    random = torch.Generator().manual_seed(0)  # scores that are nearly all alike have an order that rounding decides
    apart = {
        key: torch.randn(tensor.shape, generator=random) if re.search(r"\.(cls_preds|m)\.\d+\.weight", key) else tensor
        for key, tensor in best.tensors.items()
    }
    weights = tmp_path / "best.safetensors"
    save_checkpoint(weights, apart, best.document)
    (exported,) = export({"weights": weights, "format": [name], "imgsz": [96], "device": "cpu"}).exports
    asked = {"data": settings["data"], "imgsz": 96, "batch_size": 1, "workers": 0, "device": "cpu", "noplots": True}
    scores = [
        validate({**asked, "weights": path, "project": tmp_path / path.suffix[1:]}).metrics.map50_95
        for path in (weights, exported.path)
    ]
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)


def test_several_looks_and_several_models_agree_with_one(run: TrainResult) -> None:
    model = load_detector(run.best)
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    one = assembled([model]).predict(images)
    assert torch.equal(assembled([model, model]).predict(images), torch.cat([one, one], dim=1))
    looks = assembled([model], augment=True).predict(images)
    assert looks.shape[2] == one.shape[2] and one.shape[1] < looks.shape[1] < 3 * one.shape[1]


def test_images_are_predicted_whole_and_in_tiles(run: TrainResult, settings: Settings, tmp_path: Path) -> None:
    source = Path(settings["data"]).parent / "images" / "test"
    asked = {"weights": run.best, "source": str(source), "imgsz": 64, "device": "cpu", "conf_thres": 0.01}
    for number, changes in enumerate(({}, {"tile": 64}, {"augment": True})):
        detect({**asked, **changes, "save_txt": True, "project": tmp_path, "name": f"run{number}"})
        assert list((tmp_path / f"run{number}" / "labels").glob("*.txt"))


@WITH_ONE_HEAD
def test_the_service_answers_as_the_library_does(run: TrainResult, settings: Settings) -> None:
    image = Path(settings["data"]).parent / "images" / "val" / "000.jpg"
    asked = {"weights": run.best, "imgsz": 64, "conf_thres": 0.01}
    (expected,) = found_by_library(run.best, [image], imgsz=64, conf_thres=0.01)
    with serving({**asked, "port": 0, "device": "cpu"}) as service:
        reply = ask(service.url, "POST", "/detect", image.read_bytes())
    boxes = np.array([found["box"] for found in reply.json["detections"]])
    np.testing.assert_allclose(boxes.reshape(-1, 4), expected.boxes, atol=0.02)


@WITH_ONE_HEAD
def test_a_search_tries_two_sets_of_hyperparameters(settings: Settings, tmp_path: Path) -> None:
    wanted = {name: value for name, value in settings.items() if name != "noreport"}
    result = evolve({**wanted, "epochs": 1, "evolve": 2, "evolve_method": "genetic", "project": tmp_path})
    assert [row.state for row in result.rows] == ["complete", "complete"]


@WITH_ONE_HEAD
def test_pages_and_numbers_are_written(run: TrainResult, settings: Settings, tmp_path: Path) -> None:
    found = info({"weights": run.best})
    assert found.names == ("square", "disc") and "trained from scratch" in str(found.facts["origin"])
    assert found.summary is not None and found.summary.gflops > 0
    page = report({"runs": [run.run_folder], "out": str(tmp_path / "page.html")})
    assert "Box loss" in Path(page).read_text(encoding="utf-8")
    assert check({"data": settings["data"], "weights": run.best, "near": -1, "imgsz": 64}).diagnosis is not None
