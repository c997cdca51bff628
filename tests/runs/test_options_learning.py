"""Every setting of optimiser, loss and augmentation does what its text says; each test fails if it is ignored."""

from __future__ import annotations

import math

import numpy as np
import pytest
from command_runs import Home
from option_runs import Options, Trained, begun, covers, fit

from onelook.runs.checkpoint import load_checkpoint


@covers("train", "optimizer", "momentum")
def test_the_optimiser_and_its_momentum_are_those_asked_for(options: Options) -> None:
    found = {}
    for name in ("SGD", "Adam", "AdamW"):
        update = begun(options, optimizer=name, momentum=0.8).updates[0]
        found[update.kind] = update.groups[0].get("momentum") or update.groups[0]["betas"][0]
    assert found == {"SGD": 0.8, "Adam": 0.8, "AdamW": 0.8}


def test_the_automatic_optimiser_keeps_the_rates_that_were_set(options: Options) -> None:
    automatic = {name: value for name, value in options.items() if name != "hyp"} | {"optimizer": "auto"}
    assert begun(automatic).updates[0].kind == "AdamW", "a short run"
    chosen = begun(automatic, lr0=0.003).updates[0]
    assert (chosen.kind, chosen.groups[1]["lr"]) == ("SGD", 0.003)


@covers("train", "lr0", "lrf", "cos_lr")
@pytest.mark.parametrize("cos_lr", [False, True])
def test_learning_rates_fall_from_lr0_towards_lrf(options: Options, cos_lr: bool) -> None:
    run = fit(options, epochs=4, noval=True, lr0=0.02, lrf=0.1, cos_lr=cos_lr)
    shares = np.arange(4) / 4
    factors = (1 - np.cos(math.pi * shares)) / 2 * (0.1 - 1) + 1 if cos_lr else (1 - shares) * (1 - 0.1) + 0.1
    for group in range(3):
        rates = [update.groups[group]["lr"] for update in run.trace.updates]
        assert rates == pytest.approx(0.02 * factors)
    assert [row["x/lr2"] for row in run.result.outcome.history] == pytest.approx(0.02 * factors)


@covers("train", "warmup_epochs", "warmup_momentum", "warmup_bias_lr")
def test_the_warm_up_raises_rates_and_momentum(options: Options) -> None:
    base = {**options, "batch_size": 2, "epochs": 3, "noval": True, "lrf": 1.0, "momentum": 0.9}
    run = fit(base, warmup_epochs=0.2, warmup_momentum=0.5, warmup_bias_lr=0.3)
    groups = [update.groups for update in run.trace.updates[:3]]
    assert [group[0]["lr"] for group in groups] == pytest.approx([0.3, 0.155, 0.01])
    assert [group[1]["lr"] for group in groups] == pytest.approx([0, 0.005, 0.01])
    assert [group[2]["momentum"] for group in groups] == pytest.approx([0.5, 0.7, 0.9])


@covers("train", "weight_decay")
def test_weights_decay_and_biases_and_norms_do_not(options: Options) -> None:
    decays = [
        [group["weight_decay"] for group in begun(options, weight_decay=decay).updates[0].groups]
        for decay in (0.01, 0.02)
    ]
    assert [row[0] for row in decays] == [row[2] for row in decays] == [0, 0]
    assert decays[1][1] == 2 * decays[0][1] > 0


@covers("train", "box", "obj", "cls")
def test_a_larger_gain_multiplies_its_term_and_no_other(options: Options, plain: Trained) -> None:
    gains, factors = {"box": 0.05, "obj": 0.7, "cls": 0.3}, {"box": 2, "obj": 3, "cls": 5}
    row = fit(options, **{name: gain * factors[name] for name, gain in gains.items()}).row
    for name, factor in factors.items():
        assert row[f"train/{name}_loss"] == pytest.approx(plain.row[f"train/{name}_loss"] * factor, rel=1e-5)


@covers("train", "cls_pw", "obj_pw", "fl_gamma")
def test_positive_weights_raise_and_focusing_lowers_the_terms(options: Options, plain: Trained) -> None:
    box, obj, cls = plain.losses
    weighted = fit(options, cls_pw=3).losses
    assert weighted[:2] == (box, obj) and weighted[2] > 1.2 * cls
    assert fit(options, obj_pw=3).losses[1] > 1.02 * obj
    focused = fit(options, fl_gamma=2).losses
    assert focused[1] < 0.5 * obj and focused[2] < 0.5 * cls


@covers("train", "label_smoothing")
def test_label_smoothing_moves_the_class_term_in_proportion(options: Options, plain: Trained) -> None:
    terms = [plain.losses[2], *(fit(options, label_smoothing=value).losses[2] for value in (0.2, 0.4))]
    assert terms[2] - terms[1] == pytest.approx(terms[1] - terms[0], rel=1e-3) and terms[1] != terms[0]


@covers("train", "anchor_t")
def test_a_small_factor_matches_fewer_anchors(options: Options, plain: Trained) -> None:
    assert fit(options, anchor_t=1.2).losses[1] < plain.losses[1], "fewer positives"


@covers("train", "auto_balance")
def test_auto_balance_moves_the_weights_of_the_maps(options: Options) -> None:
    balance = {
        on: load_checkpoint(fit(options, auto_balance=on).result.last).document["loss"]["balance"]
        for on in (False, True)
    }
    assert balance[False] == pytest.approx([4.0, 1.0, 0.4]) and balance[True] != balance[False]


AUGMENTATIONS: dict[str, float] = {
    "hsv_h": 0.5, "hsv_s": 0.9, "hsv_v": 0.9, "degrees": 90, "translate": 0.4, "scale": 0.9, "shear": 45,
    "perspective": 0.001, "flipud": 1, "fliplr": 1, "mosaic": 1,
}  # fmt: skip


@covers("train", *AUGMENTATIONS)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_change_what_is_learned_from(options: Options, plain: Trained, name: str) -> None:
    changed = fit(options, **{name: AUGMENTATIONS[name]})
    assert changed.losses[0] != plain.losses[0] and changed.losses[1] != plain.losses[1]


@covers("train", "mixup", "copy_paste")
def test_mixup_and_copy_paste_add_objects(home: Home, options: Options) -> None:
    for label in (home.data / "labels" / "train").iterdir():
        label.write_text("0 .1 .1 .3 .1 .3 .3 .1 .3\n")
    mine = {**options, "data": home.yaml, "mosaic": 1}
    boxes = {name: begun(mine, **{name: 1}).steps[0].num_boxes for name in ("mosaic", "mixup", "copy_paste")}
    assert boxes["mixup"] > 1.5 * boxes["mosaic"] and boxes["copy_paste"] > 1.5 * boxes["mosaic"], boxes


@covers("train", "close_mosaic")
@pytest.mark.parametrize(("close_mosaic", "plain_epochs"), [(0, []), (0.5, [2, 3]), (1, [0, 1, 2, 3])])
def test_the_last_epochs_have_no_mosaic(
    options: Options, plain: Trained, close_mosaic: float, plain_epochs: list[int]
) -> None:
    run = fit(options, mosaic=1, epochs=4, noval=True, close_mosaic=close_mosaic)
    num_boxes = plain.trace.steps[0].num_boxes
    assert [step.epoch for step in run.trace.steps if step.num_boxes == num_boxes] == plain_epochs
