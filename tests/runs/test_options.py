"""Every setting of a training run does what its text says; each test fails if the setting is ignored.

Those that shape the optimiser, the loss and the augmentation are in a file of their own.
"""

from __future__ import annotations

import multiprocessing
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_runs import Home
from option_runs import Hide, Options, Trained, begun, covers, fit

from onelook.errors import DataError, DeviceError, OnelookError, SettingsError
from onelook.models.detector import create_model
from onelook.runs.checkpoint import load_checkpoint
from onelook.training.callback import Callback, StepEnd


@covers("train", "epochs", "batch_size")
def test_epochs_and_batch_size_shape_the_run(options: Options) -> None:
    run = fit(options, epochs=2, batch_size=7)
    assert [event.num_images for event in run.trace.steps] == [7, 7, 6] * 2
    assert [shape[0] for shape in run.trace.inputs[:4]] == [7, 7, 6, 6], "validation takes twice as many"


@covers("train", "data", "cfg", "imgsz")
def test_data_model_and_size_are_those_asked_for(plain: Trained) -> None:
    start = plain.trace.start[0]
    assert (start.num_train_images, start.num_val_images, start.names) == (20, 6, ("square", "disc"))
    assert start.model_summary.startswith("tiny, ") and start.device.startswith("CPU")
    assert plain.trace.inputs[0] == (20, 3, 64, 64) and plain.trace.steps[0].imgsz == 64
    assert len(plain.tensors("model/")) == len(create_model(str(start.settings.cfg), num_classes=2).state_dict())


@covers("train", "device")
def test_device_is_the_one_asked_for(options: Options, plain: Trained) -> None:
    assert plain.trace.start[0].device.startswith("CPU")
    with pytest.raises(DeviceError, match="97"):
        fit(options, device="97")


@covers("train", "weights")
def test_weights_are_where_the_run_starts(options: Options, plain: Trained, tiny_weights: Path) -> None:
    run = fit(options, weights=tiny_weights, cfg="", lr0=1e-12)
    given = load_checkpoint(tiny_weights).tensors_below("ema/")
    trained = run.tensors("model/")
    learned = [name for name in given if name.endswith(("conv.weight", "m.0.bias", "anchors"))]
    assert len(learned) == 8 and all(torch.allclose(trained[name], given[name], atol=1e-6) for name in learned)
    assert run.losses != plain.losses


@covers("train", "weights")
def test_weights_of_other_classes_give_all_but_the_head(
    home: Home, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    home.describe("train: images/train\nval: images/val\nnames: [square, disc, star]\n")
    with caplog.at_level("INFO", "onelook"):
        run = fit(options, data=home.yaml, weights=home.weights, lr0=1e-12)
    assert "tensors reused, the outputs of 2 classes by name" in caplog.text
    given, trained = load_checkpoint(home.weights).tensors_below("ema/"), run.tensors("model/")
    assert torch.allclose(trained["model.4.conv.weight"], given["model.4.conv.weight"], atol=1e-6)
    assert trained["model.6.m.0.weight"].shape[0] == 3 * (5 + 3) and run.result.names == ("square", "disc", "star")


@covers("train", "hyp")
def test_hyperparameters_come_from_a_preset_or_a_file(options: Options, tmp_path: Path) -> None:
    assert begun(options, hyp="scratch-high").start[0].settings.copy_paste == 0.1
    file = tmp_path / "mine.yaml"
    file.write_text("lr0: 0.5\nlrf: 1\n")
    assert fit(options, hyp=file).row["x/lr1"] == 0.5


@covers("train", "nominal_batch")
@pytest.mark.parametrize(("nominal", "updates"), [(4, 5), (8, 3)])
def test_nominal_batch_decides_how_often_weights_move(options: Options, nominal: int, updates: int) -> None:
    run = fit(options, batch_size=4, nominal_batch=nominal)
    assert len(run.trace.steps) == 5 and len(run.trace.updates) == updates


@covers("train", "rect")
def test_rect_fits_frames_to_the_images(home: Home, options: Options) -> None:
    import cv2

    for split in ("train", "val", "test"):
        for path in (home.data / "images" / split).iterdir():
            cv2.imwrite(str(path), cv2.imread(str(path))[:40])
    shapes = {rect: begun(options, data=home.yaml, imgsz=96, rect=rect, mosaic=1).inputs[0] for rect in (False, True)}
    assert shapes == {False: (20, 3, 96, 96), True: (20, 3, 64, 96)}


@covers("train", "nosave", "save_interval")
def test_checkpoints_are_written_when_asked(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onelook.training.checkpoint_keeper.MAX_SHARE", 1e9)
    often = {"epochs": 2, "batch_size": 10, "nominal_batch": 10}

    def saved_at(**changes: object) -> list[int]:
        return [event.step for event in fit({**options, **often}, **changes).trace.saved if event.path.stem == "last"]

    assert saved_at(nosave=True) == [4]
    assert saved_at(save_interval=0) == [1, 2, 2, 3, 4, 4, 4]
    assert saved_at(save_interval=1000) == [2, 4, 4]


@covers("train", "save_period")
def test_save_period_keeps_numbered_checkpoints(options: Options) -> None:
    folder = fit(options, epochs=4, save_period=2, noval=True).result.run_folder / "weights"
    assert sorted(path.stem for path in folder.glob("epoch*")) == ["epoch0", "epoch2"]
    assert load_checkpoint(folder / "epoch2.safetensors").document["progress"]["epoch"] == 3


@covers("train", "noval")
@pytest.mark.parametrize(("noval", "validated"), [(False, [True, True]), (True, [False, True])])
def test_noval_validates_the_last_epoch_only(options: Options, noval: bool, validated: list[bool]) -> None:
    assert [event.metrics is not None for event in fit(options, epochs=2, noval=noval).trace.epochs] == validated


@covers("train", "noautoanchor", "anchors", "anchor_t")
def test_anchors_are_fitted_unless_that_is_switched_off(options: Options, tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    rows = re.sub(r"  - \[\d+(, \d+){5}\]", "  - [300, 300, 310, 310, 320, 320]", Path(str(options["cfg"])).read_text())
    huge.write_text(rows)
    assert fit(options, cfg=huge).anchors.min() == 300
    assert fit(options, cfg=huge, noautoanchor=False).anchors.max() < 60
    assert fit(options, cfg=huge, noautoanchor=False, anchor_t=300).anchors.min() == 300, "all labels are in reach"
    assert fit(options, noautoanchor=False, anchors=4.4).anchors.shape == (3, 4, 2)


def test_anchors_that_miss_many_labels_are_a_warning_with_a_cure(
    options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    fit(options, noautoanchor=False, anchor_t=1.01)
    (message,) = [record.message for record in caplog.records if "anchors can match only" in record.message]
    assert "use a larger `--imgsz`" in message and "`anchor_t`" in message


@covers("train", "noplots")
def test_noplots_writes_no_images(plain: Trained) -> None:
    """What is written without it is in `test_from_training_to_detection`."""
    assert not [path for path in plain.result.run_folder.iterdir() if path.suffix in (".png", ".jpg")]


@covers("train", "cache")
@pytest.mark.parametrize(
    ("cache", "splits"),
    [
        ("auto", ("train", "val")),
        pytest.param("ram", ("train", "val"), marks=pytest.mark.slow),
        pytest.param("val", ("val",), marks=pytest.mark.slow),
    ],
)
def test_cached_images_are_not_read_again(home: Home, options: Options, cache: str, splits: tuple[str, ...]) -> None:
    hide = Hide(*(home.data / "images" / split for split in splits))
    run = fit({**options, "data": home.yaml, "cache": cache}, hide)
    unkept = {**options, "data": home.yaml, "cache": "none"}
    assert run.bits == fit(unkept).bits
    with pytest.raises(DataError, match="cannot be opened"):
        fit(unkept, hide)


@covers("train", "cache")
def test_a_cache_on_the_disk_changes_no_bit(
    options: Options, plain: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    assert [fit(options, cache="disk").bits for _ in range(2)] == [plain.bits] * 2
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 26


@covers("train", "multi_scale")
def test_multi_scale_varies_the_size_by_half(options: Options, plain: Trained) -> None:
    sizes = {event.imgsz for event in fit(options, multi_scale=True, imgsz=128, batch_size=1).trace.steps}
    assert sizes == {64, 96, 128, 160, 192} and {event.imgsz for event in plain.trace.steps} == {64}


@covers("train", "single_cls")
def test_single_cls_knows_one_class(options: Options, plain: Trained) -> None:
    run = fit(options, single_cls=True)
    assert run.result.names == ("item",) and run.tensors("model/")["model.6.m.0.weight"].shape[0] == 3 * 6
    assert run.row["train/cls_loss"] == 0 < plain.row["train/cls_loss"]


@covers("train", "workers")
def test_workers_change_no_bit(options: Options) -> None:
    children: dict[int, set[int]] = {}

    class Count(Callback):
        def on_step_end(self, event: StepEnd) -> None:
            children[workers].add(len(multiprocessing.active_children()))

    bits = set()
    augmented = {**options, "hyp": "scratch-high", "batch_size": 8, "noval": True}
    for workers in (0, 2):
        children[workers] = set()
        bits.add(fit(augmented, Count(), workers=workers).bits)
    assert len(bits) == 1
    assert children[0] == {0} and 0 not in children[2]
    assert multiprocessing.active_children() == []


@covers("train", "project", "name", "exist_ok")
def test_the_run_folder_is_where_it_was_asked_for(options: Options, tmp_path: Path) -> None:
    folders = [
        begun({**options, "project": tmp_path / "a"}, **changes).start[0].run_folder.relative_to(tmp_path).as_posix()
        for changes in ({}, {}, {"name": "x/y"}, {"name": "x/y", "exist_ok": True}, {"name": "cfg"})
    ]
    assert folders == ["a/exp", "a/exp2", "a/x/y", "a/x/y", "a/tiny"]


@covers("train", "patience", "conf_thres")
@pytest.mark.parametrize(("patience", "epochs_done"), [(1, 2), (0, 3)])
def test_patience_ends_a_run_that_gets_no_better(options: Options, patience: int, epochs_done: int) -> None:
    run = fit(options, epochs=3, patience=patience, conf_thres=1.0)
    assert run.result.outcome.epochs_done == epochs_done
    assert run.result.metrics.map50 == 0, "with a threshold of 1 nothing is detected"


@covers("train", "freeze")
@pytest.mark.parametrize(("freeze", "frozen"), [([2], {0, 1}), ([0, 2], {0, 2})])
def test_frozen_layers_do_not_change_statistics_included(
    options: Options, tiny_model: Path, freeze: list[int], frozen: set[int]
) -> None:
    run = fit(options, batch_size=10, freeze=freeze)
    start = create_model(tiny_model, num_classes=2, seed=0).state_dict()
    trained = run.tensors("model/")
    changed = {int(name.split(".")[1]) for name in start if not torch.equal(start[name], trained[name])}
    assert changed == set(range(7)) - frozen


def test_freezing_everything_is_refused(options: Options) -> None:
    with pytest.raises(SettingsError, match=r"`freeze` is \[7\], which leaves nothing"):
        fit(options, freeze=[7])


@covers("train", "seed")
def test_the_seed_decides_everything_random(options: Options, tiny_weights: Path) -> None:
    runs = [fit(options, seed=seed, batch_size=5) for seed in (3, 4)]
    assert runs[0].losses != pytest.approx(runs[1].losses, rel=1e-3), "the first weights"
    order = [[step.num_boxes for step in run.trace.steps] for run in runs]
    assert order[0] != order[1] and sum(order[0]) == sum(order[1]), "the order of the images"
    start = {**options, "weights": tiny_weights, "cfg": ""}
    assert fit(start, seed=3).losses == pytest.approx(fit(start, seed=4).losses, rel=1e-5)
    assert fit(start, seed=3, mosaic=1).losses != pytest.approx(fit(start, seed=4, mosaic=1).losses, rel=1e-3)


@covers("train", "amp")
def test_bf16_computes_on_a_cpu_and_fp16_does_not(options: Options, plain: Trained) -> None:
    run = fit(options, amp="bf16")
    assert run.losses != plain.losses and np.allclose(run.losses, plain.losses, rtol=0.05)
    assert fit(options, amp="off").bits == plain.bits
    with pytest.raises(OnelookError, match="fp16"):
        fit(options, amp="fp16")


@covers("train", "iou_thres", "max_det")
def test_validation_uses_the_thresholds(options: Options, plain: Trained) -> None:
    names = ("metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95")
    values = [
        tuple(run.row[name] for name in names)
        for run in (plain, fit(options, iou_thres=0.4), fit(options, max_det=100))
    ]
    assert len(set(values)) == 3
    assert values[2][1] < values[0][1], "100 boxes per image find fewer objects than 300"


@covers("train", "strict", "allow_unlabelled")
def test_strict_and_allow_unlabelled_decide_what_data_are_good_enough(home: Home, options: Options) -> None:
    mine = {**options, "data": home.yaml}
    home.label().write_text("0 .5 .5 .2\n")
    assert fit(mine).result.best.is_file()
    with pytest.raises(DataError, match=r"000\.txt` line 1"):
        fit(mine, strict=True)
    shutil.rmtree(home.data / "labels" / "train")
    with pytest.raises(DataError, match="have no label file"):
        fit(mine)
    assert fit(mine, allow_unlabelled=True).row["train/box_loss"] == 0
