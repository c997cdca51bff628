"""A run in many processes is the run in one that computes its batches in as many parts: the same bit for bit."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from forked_ranks import require_loopback
from option_runs import covers
from rank_faults import At, Send
from rank_runs import Settings, differences, in_processes, settings_of_20_steps, trained
from stop_at import StopAt

from onelook.errors import StopRequested
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint


@pytest.fixture
def settings(tiny_data: Path, tiny_model: Path) -> dict[str, Any]:
    """A run of 10 steps."""
    require_loopback()
    return {**settings_of_20_steps(tiny_data, tiny_model), "nominal_batch": 8, "epochs": 2}


def few(data: Path, count: int, folder: Path) -> dict[str, Any]:
    """The settings for the first few images of a dataset, by files in `folder`."""
    images = "".join(f"{data.parent}/images/train/{number:03}.jpg\n" for number in range(count))
    (folder / "few.txt").write_text(images)
    yaml = folder / "few.yaml"
    yaml.write_text(f"path: {data.parent}\ntrain: {folder}/few.txt\nval: images/val\nnames: [square, disc]\n")
    return {"data": yaml}


def with_mask_head(model: Path, folder: Path) -> dict[str, Any]:
    """The settings for a model with parameters that training boxes does not use; decay would show."""
    path = folder / "masks.yaml"
    path.write_text(model.read_text().replace("Detect, [nc, anchors]", "Segment, [nc, anchors, 8, 8]"))
    return {"cfg": path, "optimizer": "AdamW", "lr0": 0.003, "weight_decay": 0.05}


RANDOM = {"multi_scale": True, "auto_balance": True, "mixup": 0.3, "copy_paste": 0.3, "degrees": 5.0}
CASES: dict[str, dict[str, Any]] = {
    "AdamW, all that is random, and workers": {"optimizer": "AdamW", "lr0": 0.003, **RANDOM, "workers": 1},
}
MORE_CASES: dict[str, dict[str, Any]] = {
    "SGD": {"optimizer": "SGD", "lr0": 0.003, "cos_lr": True},
    "SGD, all that is random": {"optimizer": "SGD", "lr0": 0.003, **RANDOM},
    "Adam, frozen layers": {"optimizer": "Adam", "lr0": 0.003, "freeze": [3]},
    "an update after every batch": {"nominal_batch": 4},
    "a last batch of 2": {"batch_size": 6},
    "rectangles": {"rect": True},
    "rectangles and workers": {"rect": True, "workers": 2},
    "grids of images": {"quad": True, "batch_size": 8, "micro_batch": 1},
    "images drawn by class": {"image_weights": True},
    "images in memory": {"cache": "ram"},
    "an end by patience": {"patience": 1, "epochs": 6},
    "no validation but the last": {"noval": True},
    "anchors from the data": {"noautoanchor": False, "anchor_t": 1.05},
    "strict sums": {"strict_reduce": True, **RANDOM},
}


def compare(settings: Settings, tmp_path: Path) -> None:
    half = settings["batch_size"] // 2
    one = trained(1, {"micro_batch": half, **settings}, tmp_path / "one")
    two = trained(2, {**settings, "micro_batch": 0}, tmp_path / "two")
    assert differences(one, two) == []


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_bits_of_one(case: str, settings: dict[str, Any], tmp_path: Path) -> None:
    compare({**settings, **CASES[case]}, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE_CASES)
def test_two_processes_give_the_bits_of_one_in_other_cases(case: str, settings: dict[str, Any], tmp_path: Path) -> None:
    compare({**settings, **MORE_CASES[case]}, tmp_path)


def test_parameters_that_are_not_used_stay_the_same_in_two_processes(
    settings: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    compare({**settings, **with_mask_head(tiny_model, tmp_path)}, tmp_path)


@pytest.mark.parametrize("count", [5, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_a_batch_with_fewer_images_than_processes_is_trained_on_all_the_same(
    count: int, settings: dict[str, Any], tiny_data: Path, tmp_path: Path
) -> None:
    """Five images make a batch of four and one of one; one or three make a short batch every time."""
    wanted = {**settings, **few(tiny_data, count, tmp_path)}
    one = trained(1, {**wanted, "micro_batch": 2 if count > 2 else 1}, tmp_path / "one")
    two = trained(2, wanted, tmp_path / "two")
    # One image makes one part, two processes have two; so it is validated in batches of another size as well.
    others = {"last.progress", "results.csv"} if count == 1 else set()
    assert set(differences(one, two)) == others


@covers("train", "strict_reduce")
@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_strict_sums_make_any_number_of_processes_equal(size: int, settings: dict[str, Any], tmp_path: Path) -> None:
    """1 process x 4 parts, 2 x 2 and 4 x 1; in the strict mode alone."""
    wanted = {**settings, **RANDOM, "multi_scale": False, "strict_reduce": True}
    alone = trained(1, {**wanted, "micro_batch": 1}, tmp_path / "alone")
    many = trained(size, {**wanted, "micro_batch": 1}, tmp_path / "many")
    assert differences(alone, many) == []


@pytest.mark.slow
def test_without_strict_sums_four_processes_agree_but_for_rounding(settings: dict[str, Any], tmp_path: Path) -> None:
    wanted = {**settings, "micro_batch": 1, "epochs": 1, "optimizer": "SGD"}
    alone, four = (trained(size, wanted, tmp_path / str(size)) for size in (1, 4))
    assert differences(alone, four), "else strict sums would not be needed"
    first, second = (load_checkpoint(run / "weights/last.safetensors").tensors_below("model/") for run in (alone, four))
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], rtol=1e-4, atol=1e-6), name


def test_a_run_may_resume_in_another_number_of_processes(
    settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped by a signal to one of two, gone on with in one, and stopped again: equal to the undisturbed one."""
    wanted = {**settings, **RANDOM, "epochs": 3}
    whole = trained(1, {**wanted, "micro_batch": 2}, tmp_path / "whole")
    ranks = in_processes(2, wanted, tmp_path / "moved", faults=At(1, 7, Send(signal.SIGTERM)))
    assert ranks.join() == [75, 75], ranks.everything_said
    run = tmp_path / "moved" / "exp"
    with pytest.raises(StopRequested):
        train({"resume": str(run)}, callbacks=[StopAt(13)])
    assert "not bit for bit the same" not in caplog.text
    ranks = in_processes(2, {"resume": str(run)}, tmp_path / "moved")
    assert ranks.join() == [0, 0], ranks.everything_said
    assert "not bit for bit the same" not in ranks.everything_said
    assert differences(whole, run) == []


def test_a_change_of_processes_that_moves_the_last_digits_is_said(settings: dict[str, Any], tmp_path: Path) -> None:
    """One whole batch cannot be shared by two without being cut."""
    with pytest.raises(StopRequested):
        train({**settings, "epochs": 1, "project": tmp_path / "runs"}, callbacks=[StopAt(3)])
    ranks = in_processes(2, {"resume": str(tmp_path / "runs" / "exp")}, tmp_path / "two")
    assert ranks.join() == [0, 0], ranks.everything_said
    assert "batches have 2 micro-batches instead of 1" in ranks.said(0)


@covers("train", "sync_bn")
def test_synchronous_normalisation_makes_two_processes_one_batch(settings: dict[str, Any], tmp_path: Path) -> None:
    """With the objectness term alone, whose mean over parts is that over the batch."""
    alone = {"box": 0.0, "cls": 0.0, "optimizer": "SGD", "lr0": 0.01, "epochs": 1, "warmup_epochs": 0}
    wanted = {**settings, **alone}
    whole = weights_of(trained(1, wanted, tmp_path / "whole"))
    together = weights_of(trained(2, {**wanted, "sync_bn": True}, tmp_path / "together"))
    apart = weights_of(trained(2, wanted, tmp_path / "apart"))
    assert distance(together, whole) < 1e-5 < 1e-3 < distance(apart, whole)


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    tensors = load_checkpoint(run / "weights" / "last.safetensors").tensors_below("model/")
    return {name: tensor.double() for name, tensor in tensors.items() if tensor.is_floating_point()}


def distance(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> float:
    """The largest difference of two tensors of a name, as a share of the largest value in it."""
    return max(
        ((first[name] - second[name]).abs().max() / second[name].abs().max().clamp(min=1e-3)).item() for name in first
    )
