"""Trainings on folds and trials of a search set out from the defaults that a training alone would have."""

from __future__ import annotations

from pathlib import Path

import pytest
from option_runs import Options

from onelook.processes.stop_signal import StopSignal
from onelook.recipes.folds_preparation import prepare_folds
from onelook.recipes.search_preparation import prepare_search
from onelook.recipes.split_dataset import split_dataset


@pytest.fixture
def quick(tmp_path: Path) -> Options:
    return {"epochs": 2, "batch_size": 10, "imgsz": 64, "workers": 0, "device": "cpu", "project": tmp_path / "runs"}


@pytest.fixture(params=["head without anchors", "weights", "weights and a gain"])
def case(request: pytest.FixtureRequest, tiny_weights: Path) -> tuple[Options, tuple[float, float]]:
    """What is given, and the class gain and the share without mosaic that follow from it."""
    cases: dict[str, tuple[Options, tuple[float, float]]] = {
        "head without anchors": ({"cfg": "yolox-nano"}, (0.5, 0.15)),
        "weights": ({"weights": tiny_weights}, (2.0, 0.2)),
        "weights and a gain": ({"weights": tiny_weights, "cls": 1.0}, (1.0, 0.2)),
    }
    return cases[request.param]


def test_all_folds_have_them(
    quick: Options, case: tuple[Options, tuple[float, float]], tiny_data: Path, tmp_path: Path
) -> None:
    given, expected = case
    folds = tmp_path / "folds"
    split_dataset({"data": tiny_data, "output": folds, "folds": 2, "stratify": True, "near": -1})
    with StopSignal() as stop:
        order = prepare_folds(quick | given | {"folds": folds}, None, stop).order(1)
    assert (order["cls"], order["close_mosaic"]) == expected


def test_a_search_has_them(quick: Options, case: tuple[Options, tuple[float, float]], tiny_data: Path) -> None:
    given, expected = case
    with StopSignal() as stop:
        prepared = prepare_search(quick | given | {"data": tiny_data, "evolve": 2}, None, stop)
    trial = {**prepared.training_settings(), **prepared.start}
    assert (trial["cls"], trial["close_mosaic"]) == expected
