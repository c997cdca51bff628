"""Settings and weights of a tiny run; data and model are those of all tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_runs import Home
from option_runs import NO_AUGMENTATION, Options, Trained, fit
from rank_runs import settings_of_20_steps, trained

from onelook.recipes.train import train

ALL_RANDOM = {"batch_size": 8, "mixup": 0.3, "degrees": 5.0, "multi_scale": True, "auto_balance": True}


@pytest.fixture
def tiny_settings(tiny_data: Path, tiny_model: Path, tmp_path: Path) -> dict[str, object]:
    """Settings of a run of 4 epochs of 3 batches, with everything random switched on."""
    return {**settings_of_20_steps(tiny_data, tiny_model), **ALL_RANDOM, "project": tmp_path / "runs"}


@pytest.fixture(scope="session")
def whole_run(tiny_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with `tiny_settings` that nothing happens to: read by tests, and changed by none."""
    return trained(1, {**settings_of_20_steps(tiny_data, tiny_model), **ALL_RANDOM}, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def tiny_weights(tiny_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny model after one epoch on squares and discs."""
    settings = {"data": tiny_data, "cfg": tiny_model, "epochs": 1, "batch_size": 4, "imgsz": 64, "workers": 0}
    fixed = {"device": "cpu", "noplots": True, "noreport": True, "noautoanchor": True}
    return train({**settings, **fixed, "project": tmp_path_factory.mktemp("weights")}).best


@pytest.fixture
def home(
    tiny_data: Path, tiny_model: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Home:
    """A dataset of the test's own, and an empty working folder beside it."""
    data, work = tmp_path / "data", tmp_path / "work"
    shutil.copytree(tiny_data.parent, data)
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("ONELOOK_DEBUG", raising=False)
    return Home(data, tiny_model, tiny_weights, work)


@pytest.fixture(scope="session")
def fixed(tiny_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Options:
    """Settings of a run of one batch without augmentation: its first losses depend on data and model alone."""
    return {
        "data": tiny_data,
        "cfg": tiny_model,
        "epochs": 1,
        "batch_size": 20,
        "imgsz": 64,
        "workers": 0,
        "device": "cpu",
        "noplots": True,
        "noreport": True,
        "noautoanchor": True,
        "optimizer": "SGD",
        "project": tmp_path_factory.mktemp("plain"),
        **NO_AUGMENTATION,
    }


@pytest.fixture(scope="module")
def plain(fixed: Options) -> Trained:
    """What `fixed` gives."""
    return fit(fixed)


@pytest.fixture
def options(fixed: Options, tmp_path: Path) -> Options:
    """`fixed`, with run folders of the test's own."""
    return {**fixed, "project": tmp_path / "runs"}
