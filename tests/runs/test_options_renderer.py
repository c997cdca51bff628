"""Who makes the pixels of training images, and where their sources lie; each test fails if the setting is ignored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_content import content_of
from command_runs import Home
from option_runs import Hide, Options, covers, fit
from stop_at import StopAt

from onelook.data.image_cache import ImageFiles
from onelook.data.planned import PlannedDataset
from onelook.errors import SettingsError, StopRequested
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.preparation import prepare
from onelook.recipes.train import train
from onelook.training.loading import training_set
from onelook.training.state import Progress

AUGMENTED = {"mosaic": 1, "scale": 0.5, "translate": 0.1, "fliplr": 0.5, "hsv_s": 0.5, "batch_size": 8}
DEVICE = {**AUGMENTED, "renderer": "device"}


@covers("train", "renderer")
def test_the_device_makes_the_images_of_the_loader_but_for_rounding(options: Options) -> None:
    by_loader, by_device = fit(options, **AUGMENTED), fit(options, **DEVICE, workers=1)
    assert by_device.bits != by_loader.bits
    assert by_device.losses == pytest.approx(by_loader.losses, rel=0.02)
    assert fit(options, **DEVICE).bits == by_device.bits, "any number of workers"


@covers("train", "renderer")
def test_what_needs_pixels_stays_with_the_loader(options: Options, caplog: pytest.LogCaptureFixture) -> None:
    given = {**options, "quad": True, "batch_size": 16}
    assert fit(given, renderer="device").bits == fit(given).bits
    assert "setting `renderer` is ignored" in caplog.text


@covers("train", "cache")
def test_images_on_the_device_change_no_bit_and_are_not_read_again(home: Home, options: Options) -> None:
    given = {**options, **DEVICE, "data": home.yaml, "scale": 0.9}
    hide = Hide(home.data / "images" / "train", home.data / "images" / "val")
    assert fit(given, hide, cache="gpu").bits == fit(given).bits


def test_images_that_do_not_fit_on_the_device_are_kept_in_main_memory(
    home: Home, options: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = {**options, **DEVICE, "data": home.yaml}
    hide = Hide(home.data / "images" / "train", home.data / "images" / "val")
    monkeypatch.setattr("onelook.data.device_images.available_memory", lambda: 1_000)
    assert fit(given, hide, cache="gpu").bits == fit(given).bits
    assert "`cache: gpu` keeps images in main memory: 20 images would need" in caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cache": "gpu"}, "`cache: gpu` needs `renderer: device`"),
        ({"cache": "gpu", "renderer": "device", "copy_paste": 0.5}, "cannot be used with `copy_paste`"),
        ({"cache": "gpu", "renderer": "device", "quad": True}, "cannot be used with `copy_paste`"),
        ({"cache": "gpu", "renderer": "device", "batch_size": -1}, "leaves no memory"),
    ],
)
def test_images_on_the_device_are_refused_where_nothing_there_draws_them(
    options: Options, given: Options, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        fit({**options, "batch_size": 16, **given})


def test_a_run_with_rendered_images_is_resumed_bit_for_bit(tiny_settings: Options, tmp_path: Path) -> None:
    settings = {**tiny_settings, "epochs": 2, "renderer": "device", "batch_size": 8, "mixup": 0.3}
    whole = train({**settings, "project": tmp_path / "whole"}).run_folder
    folder = tmp_path / "stopped" / "exp"
    with pytest.raises(StopRequested):
        train({**settings, "project": folder.parent}, callbacks=[StopAt(4)])
    train({"resume": str(folder)})
    for name in ("weights/last.safetensors", "weights/best.safetensors", "results.csv"):
        assert content_of(folder / name) == content_of(whole / name), name


def test_the_shares_of_two_processes_are_the_batch_of_one(options: Options) -> None:
    data, model, run = prepare({**options, **DEVICE, "mixup": 0.5}, None, StopSignal(), ProcessGroup(), resumed=None)

    def images(rank: int, world_size: int) -> list[torch.Tensor]:
        share = replace(run, group=ProcessGroup(rank, world_size))
        dataset, order = training_set(data, model.model, share, Progress())
        planned = PlannedDataset(dataset)
        return [planned.batch(places).rendered(torch.device("cpu")).images for places in order]

    for whole, first, second in zip(images(0, 1), images(0, 2), images(1, 2), strict=True):
        assert torch.equal(whole, torch.cat([first, second]))


@covers("train", "mosaic_partners")
@pytest.mark.parametrize("renderer", ["cpu", pytest.param("device", marks=pytest.mark.slow)])
def test_partners_of_the_batch_are_read_once_and_the_same_for_any_number_of_workers(
    options: Options, renderer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {**options, **AUGMENTED, "renderer": renderer, "batch_size": 10, "cache": "none"}
    reads: list[int] = []
    plain = ImageFiles.image
    monkeypatch.setattr(ImageFiles, "image", lambda files, number: reads.append(number) or plain(files, number))
    run = fit(given, mosaic_partners="batch")
    of_batches, reads[:] = len(reads), []
    assert run.bits != fit(given).bits
    assert of_batches < len(reads) - 10, "20 for training, and those of validation"
    assert fit(given, mosaic_partners="batch", workers=1).bits == run.bits
