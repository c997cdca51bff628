"""The memory for cached images: shared by the processes of a machine, and counted when a batch size is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from onelook.data.image_cache import MARGIN, ImageFiles
from onelook.data.splits import Splits
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.preparation import prepare
from onelook.training.batch_size import trial_request
from onelook.training.loading import training_cache
from onelook.training.run import Run
from onelook.training.run_model import RunModel


@pytest.fixture
def prepared(
    tiny_data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Splits, RunModel, Run]:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    settings = {
        "data": tiny_data,
        "cfg": tiny_model,
        "batch_size": 4,
        "imgsz": 64,
        "workers": 0,
        "device": "cpu",
        "noautoanchor": True,
        "cache": "ram",
        "project": tmp_path / "runs",
    }
    return prepare(settings, None, StopSignal(), ProcessGroup(), resumed=None)


@pytest.mark.parametrize(("here", "is_ignored"), [(2, False), (4, True)])
def test_memory_has_to_hold_the_images_of_the_processes_on_this_machine(
    here: int,
    is_ignored: bool,
    prepared: tuple[Splits, RunModel, Run],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data, model, run = prepared
    needed = int(ImageFiles(data.scans["train"].index, 64).num_bytes().sum())
    monkeypatch.setattr("onelook.data.image_cache.available_memory", lambda: round(3 * MARGIN * needed))
    for name, value in (("RANK", 1), ("WORLD_SIZE", 4), ("LOCAL_WORLD_SIZE", here)):
        monkeypatch.setenv(name, str(value))
    second = replace(run, group=ProcessGroup(rank=1, world_size=4))
    training_cache(data, model, second)
    assert ("setting `cache` is ignored" in caplog.text) == is_ignored


@pytest.mark.parametrize(
    ("cache", "free", "kept"), [("auto", 8.1, ["train", "val"]), ("auto", 7.9, ["val"]), ("ram", 7.9, ["train", "val"])]
)
def test_a_batch_size_leaves_room_for_the_images_that_will_be_kept(
    cache: str,
    free: float,
    kept: list[str],
    prepared: tuple[Splits, RunModel, Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, model, run = prepared
    needed = {name: int(ImageFiles(scan.index, 64).num_bytes().sum()) for name, scan in data.scans.items()}
    for module in ("data.image_cache", "training.batch_size"):
        monkeypatch.setattr(f"onelook.{module}.available_memory", lambda: round(free * needed["train"]))
    settings = run.settings.model_copy(update={"cache": cache})
    request = trial_request(settings, data, model=model.model, device=model.device, processes=1)
    assert request.other_bytes == sum(needed[name] for name in kept)
