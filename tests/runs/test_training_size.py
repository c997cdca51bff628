"""A model is looked with at the size that it was trained at, wherever no size is given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from command_runs import Home, run
from option_runs import Trace

import onelook
from onelook.exports.torchscript import open_torchscript
from onelook.recipes.serve import serving

CPU = {"device": "cpu"}


def sides_in(trace: Trace) -> set[int]:
    """Longest sides of what went into the network."""
    return {max(shape[2:]) for shape in trace.inputs}


def test_detect_and_load_use_the_size_of_training(home: Home) -> None:
    trace = Trace()
    with trace.watching():
        onelook.detect(home.weights, home.image("test"), nosave=True, **CPU)
        detector = onelook.load(home.weights, **CPU)
        detector(home.image("test"))
    assert sides_in(trace) == {64} and detector.settings.frame_hw == (64, 64)
    assert onelook.load(home.weights, imgsz=96, **CPU).settings.frame_hw == (96, 96)


def test_val_measures_at_the_size_of_training(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["val", "--data", str(home.yaml), "--weights", str(home.weights), "--workers", "0", "--device", "cpu"]
    tables = []
    for more in ([], ["--imgsz", "64"], ["--imgsz", "128"]):
        trace = Trace()
        with trace.watching():
            assert run([*words, "--noplots", *more], capsys).code == 0
        tables.append(sides_in(trace))
    assert tables[0] == tables[1] != tables[2]


def test_the_service_uses_the_size_of_training(home: Home) -> None:
    with serving({"weights": home.weights, "port": 0, **CPU}) as service:
        assert service.model.imgsz == (64, 64)


@pytest.mark.parametrize("dynamic", [False, True])
def test_exports_and_what_runs_them_have_the_size_of_training(home: Home, dynamic: bool) -> None:
    weights = Path(shutil.copy(home.weights, home.work / "best.safetensors"))
    (made,) = onelook.export(weights, format="torchscript", dynamic=dynamic, **CPU).exports
    assert onelook.load(made.path, **CPU).settings.frame_hw == (64, 64)
    result = onelook.validate(made.path, home.yaml, noplots=True, workers=0, **CPU)
    expected = onelook.validate(made.path, home.yaml, imgsz=64, noplots=True, workers=0, **CPU)
    assert result.metrics.map50_95 == expected.metrics.map50_95


def test_an_export_for_another_size_is_used_at_that_size(home: Home) -> None:
    weights = Path(shutil.copy(home.weights, home.work / "best.safetensors"))
    (made,) = onelook.export(weights, format="torchscript", imgsz=[32, 96], **CPU).exports
    assert onelook.load(made.path, **CPU).settings.frame_hw == (32, 96)


def test_benchmark_and_check_take_the_size_of_training(home: Home) -> None:
    weights = Path(shutil.copy(home.weights, home.work / "best.safetensors"))
    result = onelook.benchmark(weights, format="torchscript", rounds=1, **CPU)
    assert open_torchscript(result.run_folder / "best.torchscript", torch.device("cpu")).frame_hw == (64, 64)
    trace = Trace()
    with trace.watching():
        checked = onelook.check(home.yaml, weights=home.weights, **CPU)
    assert sides_in(trace) == {64} and checked.diagnosis.imgsz == 64
    assert onelook.check(home.yaml).diagnosis.imgsz == 640


def test_files_made_of_a_checkpoint_keep_the_size(home: Home) -> None:
    weights = Path(shutil.copy(home.weights, home.work / "best.safetensors"))
    apart = onelook.convert(weights, ema_only=True).path
    result = onelook.detect(weights, home.image("test"), update=True, nosave=True, **CPU)
    for path in (apart, *result.inference_files):
        assert onelook.load(path, **CPU).settings.frame_hw == (64, 64)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_val_repeats_the_numbers_of_the_run(batch_size: int, whole_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    """The same frames, whatever the batch."""
    given = {"batch_size": batch_size, "noplots": True, "workers": 0, "project": tmp_path, **CPU}
    result = onelook.validate(whole_run / "weights" / "best.safetensors", tiny_data, **given)
    numbers = [json.loads((folder / "metrics.json").read_text()) for folder in (whole_run, result.run_folder)]
    for name in ("precision", "recall", "map50", "map50_95", "num_images", "num_labels"):
        assert numbers[1][name] == pytest.approx(numbers[0][name], abs=1e-6), name
    assert numbers[0]["map50"] > 0
