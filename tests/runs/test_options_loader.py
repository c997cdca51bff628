"""Every setting of the loader does what its text says; each test fails if the setting is ignored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_content import content_of
from command_runs import Home
from option_runs import Options, Trained, begun, covers, fit
from stop_at import StopAt

from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.image_weights import ImageWeights
from onelook.data.splits import read_splits, scan_options
from onelook.errors import SettingsError, StopRequested
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.preparation import prepare
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint
from onelook.settings.command_line import as_arguments
from onelook.training.loading import TrainingCache, training_batches, training_cache, validation_evaluator
from onelook.training.state import Progress

RESUMED_FILES = ("weights/last.safetensors", "weights/best.safetensors", "results.csv")


@covers("train", "quad")
def test_quad_shows_every_image_once_in_images_of_twice_the_size(options: Options, plain: Trained) -> None:
    run = fit(options, quad=True, batch_size=16)
    assert run.trace.inputs[:2] == [(4, 3, 128, 128)] * 2, "two images alone and two grids make ten of twenty images"
    assert [step.num_images for step in run.trace.steps] == [10, 10]
    assert sum(step.num_boxes for step in run.trace.steps) == plain.trace.steps[0].num_boxes
    assert run.losses != plain.losses


@covers("train", "quad")
@pytest.mark.parametrize(("rect", "multi_scale"), [(True, False), (False, True)])
def test_quad_goes_with_rect_and_multi_scale(options: Options, rect: bool, multi_scale: bool) -> None:
    run = fit(options, quad=True, batch_size=16, rect=rect, multi_scale=multi_scale)
    assert len(run.trace.steps) == 2 and np.isfinite(run.losses).all()
    assert {step.imgsz for step in run.trace.steps} <= ({64, 96, 128, 160, 192} if multi_scale else {128})
    if multi_scale:
        assert max(step.imgsz for step in fit(options, quad=True, batch_size=4, multi_scale=True).trace.steps) > 96


@pytest.mark.parametrize(("batch_size", "fitting"), [(10, 12), (2, 4), (17, 20)])
def test_quad_needs_batches_that_can_be_quartered(options: Options, batch_size: int, fitting: int) -> None:
    with pytest.raises(SettingsError, match=f"multiple of 4, not {batch_size}") as caught:
        fit(options, quad=True, batch_size=batch_size)
    assert caught.value.hint == f"use {fitting}"


def rare_class(home: Home) -> None:
    """One image with nine labels of class 1, all others with one of class 0."""
    for number, label in enumerate(sorted((home.data / "labels" / "train").iterdir())):
        rows = [f"1 .{1 + i} .5 .1 .1" for i in range(9)] if number == 7 else ["0 .5 .5 .4 .4"]
        label.write_text("\n".join(rows) + "\n")


@covers("train", "image_weights")
def test_image_weights_show_rare_and_badly_detected_classes_more_often(home: Home, options: Options) -> None:
    rare_class(home)
    mine = {**options, "data": home.yaml, "batch_size": 10, "epochs": 3, "save_period": 1}
    run = fit(mine, image_weights=True)
    assert [step.num_boxes for step in fit(mine, epochs=1).trace.steps] != [
        step.num_boxes for step in run.trace.steps[:2]
    ]
    splits = read_splits(home.yaml, ("train",), options=scan_options(run.trace.start[0].settings))
    index = splits.scans["train"].index
    weights = ImageWeights(index, num_classes=2, seed=0)
    checkpoints = [load_checkpoint(run.result.run_folder / f"weights/epoch{epoch}.safetensors") for epoch in (0, 1)]
    found_ap = [(), *(tuple(checkpoint.document["progress"]["class_ap"]) for checkpoint in checkpoints)]
    assert len(found_ap[1]) == 2
    for epoch, class_ap in enumerate(found_ap):
        order = generator(SampleKey(0, epoch, 0), Purpose.ORDER).permutation(20)
        labels = np.diff(index.offsets)[weights.draw(epoch, class_ap)[order]]
        boxes = [step.num_boxes for step in run.trace.steps if step.epoch == epoch]
        assert boxes == labels.reshape(2, 10).sum(axis=1).tolist()
        assert sum(boxes) > 50, "28 without weights"


def test_drawn_images_are_the_same_for_any_number_of_workers(options: Options) -> None:
    mine = {**options, "hyp": "scratch-high", "batch_size": 8, "epochs": 2, "quad": True, "image_weights": True}
    assert len({fit(mine, workers=workers).bits for workers in (0, 2)}) == 1


def test_rect_and_image_weights_contradict_each_other(options: Options) -> None:
    with pytest.raises(SettingsError, match="`rect` and `image_weights` cannot be used together"):
        fit(options, rect=True, image_weights=True)


@covers("train", "mosaic9")
def test_mosaics_of_nine_show_more_objects(home: Home, options: Options) -> None:
    for label in (home.data / "labels" / "train").iterdir():
        label.write_text("0 .5 .5 .3 .3\n")
    mine = {**options, "data": home.yaml, "mosaic": 1}
    four, some, nine = (begun(mine, mosaic9=share).steps[0].num_boxes for share in (0, 0.5, 1))
    assert four < some < nine and nine > 1.3 * four
    assert begun(mine, mosaic=0, mosaic9=1).steps[0].num_boxes == 20, "no mosaics at all"


CROP = {"name": "RandomResizedCrop", "size": [64, 64], "scale": [0.1, 0.3], "p": 1}


@covers("train", "transforms")
def test_transforms_change_what_is_learned_from_and_say_what_they_took_away(
    options: Options, plain: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("albucore", reason="the extra `augment` is not installed")
    assert "`transforms` dropped" not in caplog.text
    run = fit(options, transforms=[CROP])
    dropped, left = run.trace.steps[0].num_dropped_boxes, run.trace.steps[0].num_boxes
    assert dropped > 0 and dropped + left == plain.trace.steps[0].num_boxes and run.losses != plain.losses
    assert f"`transforms` dropped {dropped} of {dropped + left} boxes" in caplog.text
    file = tmp_path / "mine.yaml"
    file.write_text(f"transforms: [{json.dumps(CROP)}]\n")
    assert fit(options, transforms=file, workers=2, batch_size=20).bits == run.bits


@covers("train", "transforms")
def test_wrong_transforms_leave_no_run_folder(options: Options) -> None:
    pytest.importorskip("albucore", reason="the extra `augment` is not installed")
    with pytest.raises(SettingsError, match="'limit' are not valid for transform Blur"):
        fit(options, transforms=[{"name": "Blur", "limit": 3}])
    assert not Path(str(options["project"])).exists()


def test_a_resumed_run_draws_the_same_images(tiny_settings: Options, tmp_path: Path) -> None:
    settings = {
        **tiny_settings,
        "image_weights": True,
        "quad": True,
        "batch_size": 8,
        "nominal_batch": 5,
        "mosaic9": 0.5,
    }
    whole = train({**settings, "project": tmp_path / "whole"}).run_folder
    assert sum(load_checkpoint(whole / "weights/last.safetensors").document["progress"]["class_ap"]) > 0
    folder = tmp_path / "stopped" / "exp"
    with pytest.raises(StopRequested):
        train({**settings, "project": folder.parent}, callbacks=[StopAt(7)])
    train({"resume": str(folder)})
    for name in RESUMED_FILES:
        assert content_of(folder / name) == content_of(whole / name), name


@covers("train", "cache")
def test_a_cache_that_does_not_fit_is_left_out_with_numbers(
    options: Options, plain: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("onelook.data.image_cache.available_memory", lambda: 1_000)
    assert fit(options, cache="ram").bits == plain.bits
    assert "setting `cache` is ignored: 20 images would need" in caplog.text


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_a_stop_while_a_cache_is_filled_lets_the_run_come_to_its_checkpoint(
    options: Options, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    stop = StopSignal()
    data, model, run = prepare({**options, "cache": cache}, None, stop, ProcessGroup(), resumed=None)
    stop.request()
    assert validation_evaluator(data, model, run, stop)
    assert training_cache(data, model, run, stop) == TrainingCache()
    batches = training_batches(data, model, run, Progress())
    assert isinstance(next(batches).images, torch.Tensor)
    batches.close()


@pytest.mark.slow
def test_two_processes_give_the_bits_of_two_micro_batches_whatever_is_shown(options: Options, tmp_path: Path) -> None:
    shown = {"quad": True, "image_weights": True, "mosaic9": 0.5, "mixup": 0.3, "multi_scale": True, "mosaic": 1}
    given = {**options, **shown, "epochs": 3, "batch_size": 16, "project": tmp_path / "one"}
    alone = fit(given, micro_batch=2)
    words = as_arguments({**given, "project": tmp_path / "two", "nproc": 2, "workers": 1})
    subprocess.run([sys.executable, "-m", "onelook", "train", *words], check=True)
    for name in ("last", "best"):
        one, two = (load_checkpoint(tmp_path / which / f"exp/weights/{name}.safetensors") for which in ("one", "two"))
        assert all(torch.equal(one.tensors[key], two.tensors[key]) for key in one.tensors)
    assert alone.result.outcome.epochs_done == 3
