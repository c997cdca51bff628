"""A run, trainings on folds and a search that were started in one folder are resumed from another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from stop_at import StopAt

from onelook.errors import DataError, StopRequested
from onelook.recipes.evolve import evolve
from onelook.recipes.folds import train_folds
from onelook.recipes.split_dataset import split_dataset
from onelook.recipes.train import train

Settings = dict[str, object]


@pytest.fixture
def started(tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that name data and runs as one does in the folder of the dataset, which is the current one."""
    shutil.copytree(Path(str(tiny_settings["data"])).parent, tmp_path / "home")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return {**tiny_settings, "data": "data.yaml", "project": "runs"}


def test_a_run_is_resumed_from_another_working_folder(
    started: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StopRequested):
        train(started, callbacks=[StopAt(5)])
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert train({"resume": "../home/runs/exp"}).outcome.epochs_done == 4
    assert f"`data.yaml` is not there; `{tmp_path}/home/data.yaml` is read" in caplog.text
    (tmp_path / "home/data.yaml").rename(tmp_path / "home/moved.yaml")
    with pytest.raises(DataError, match=r"`.*data\.yaml` does not exist\nhint: .*relative paths"):
        train({"resume": "../home/runs/exp", "epochs": 5})


@pytest.mark.slow  # paths are those of runs
def test_trainings_on_folds_are_resumed_from_another_working_folder(
    started: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_dataset({"data": started.pop("data"), "folds": 2, "output": "folds", "near": -1})
    folder = train_folds({**started, "epochs": 1, "folds": "folds"}).run_folder
    (folder / "fold2" / "status.json").unlink()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(train_folds({"resume": f"../home/{folder}"}).folds) == 2
    assert not list(Path().iterdir())


@pytest.mark.slow  # paths are those of runs
def test_a_search_is_resumed_from_another_working_folder(
    started: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {**started, "epochs": 1, "evolve": 1, "evolve_method": "genetic", "noautoanchor": True}
    folder = evolve(given).run_folder
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(evolve({"resume_evolve": f"../home/{folder}", "evolve": 2}).rows) == 2
    assert not list(Path().iterdir())
