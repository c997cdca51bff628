"""What W&B keeps offline is what the run has written, and nothing that nobody asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stop_at import StopAt
from tracker_runs import Draw, beginning, bits_of, follow, results_of
from wandb_store import forget_wandb, offline_wandb, read_stores

from onelook.callbacks.trackers.wandb import WandbTracker
from onelook.errors import SettingsError, StopRequested
from onelook.recipes.train import train
from onelook.training.callback import FitEnd


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B as for a user who has said offline."""
    offline_wandb(tmp_path, monkeypatch)
    yield
    forget_wandb()


def test_the_store_agrees_with_the_run_folder(
    tiny_run: dict[str, Any], offline: None, caplog: pytest.LogCaptureFixture, untracked_bits: list[bytes]
) -> None:
    caplog.set_level("INFO", "onelook")
    result = follow("wandb", tiny_run, Draw(), save_period=1)
    (store,) = read_stores(result.run_folder)
    assert store.rows() == results_of(result.run_folder) and len(store.rows()) == 2
    assert (store.run.project, store.run.display_name, store.run.entity) == ("runs", "exp", "")
    assert {name: store.config[name] for name in ("fliplr", "imgsz", "freeze")} == {
        "fliplr": 0.5,
        "imgsz": 64,
        "freeze": [0],
    }
    assert store.config["class_names"] == ["square", "disc"]
    assert store.summary["best/mAP_0.5:0.95"] == result.metrics.map50_95
    assert store.summary["best/epoch"] == result.outcome.best_epoch and store.summary["reason"] == "finished"
    assert store.images() == {"labels", "results"}
    assert store.boxed_epochs() == [0, 1]
    versions = [(artifact.type, set(artifact.aliases)) for artifact in store.artifacts]
    assert versions == [("model", {"latest", name}) for name in ("epoch0", "epoch1", "best")]
    assert {entry.path for artifact in store.artifacts for entry in artifact.manifest.contents} == {
        f"{name}.safetensors" for name in ("epoch0", "epoch1", "best")
    }
    assert [path.name for path in result.run_folder.glob("wandb/offline-run-*/files/*")] == ["media"], "nothing else"
    assert f"tracker `wandb`: {result.run_folder / 'wandb' / 'offline-run-'}" in caplog.text
    assert bits_of(result) == untracked_bits


def test_boxes_are_those_of_labels_and_detections(tiny_run: dict[str, Any], offline: None) -> None:
    result = follow("wandb", tiny_run, epochs=1)
    (folder,) = result.run_folder.glob("wandb/offline-run-*/files/media/metadata/boxes2D")
    layers = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
    label_layers = [layer for layer in layers if layer["box_data"] and "scores" not in layer["box_data"][0]]
    labels = (tiny_run["data"].parent / "labels" / "val").iterdir()
    wanted = [[float(number) for number in line.split()] for path in labels for line in path.read_text().splitlines()]
    found = []
    for layer in label_layers:
        assert layer["class_labels"] == {"0": "square", "1": "disc"}
        for box in layer["box_data"]:
            left, top, right, bottom = (box["position"][key] for key in ("minX", "minY", "maxX", "maxY"))
            found.append([box["class_id"], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
    np.testing.assert_allclose(sorted(found), sorted(wanted), atol=1e-5)
    scores = [box["scores"]["score"] for layer in layers if layer not in label_layers for box in layer["box_data"]]
    assert scores and all(0 < score < 1 for score in scores)


def test_a_resumed_run_continues_in_its_wandb_run(tiny_run: dict[str, Any], offline: None) -> None:
    with pytest.raises(StopRequested):
        follow("wandb", tiny_run, StopAt(3))
    run_folder = tiny_run["project"] / "exp"
    follow("wandb", {"resume": str(run_folder)})
    before, after = read_stores(run_folder)
    assert before.run.run_id == after.run.run_id == (run_folder / "wandb_id").read_text().strip()
    assert after.run.resume and not before.run.resume
    assert before.rows() | after.rows() == results_of(run_folder) and list(after.rows()) == [1]
    assert after.history[0]["_step"] == 1, "W&B takes no step twice"


def test_a_row_that_comes_late_is_kept(tmp_path: Path, offline: None) -> None:
    tracker = WandbTracker()
    tracker.start(beginning(tmp_path, ("bee", "=1+1")))
    for epoch in (0, 2, 1):
        tracker.log_row(epoch, {"train/box_loss": epoch / 10})
    tracker.finish(FitEnd("finished", 3, 2, 0.0, (), 1.0))
    (store,) = read_stores(tmp_path)
    assert store.rows() == {epoch: {"train/box_loss": epoch / 10} for epoch in (0, 2, 1)}


def test_without_a_key_nobody_is_asked_for_one(tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(SettingsError, match="no key to log in with") as problem:
        WandbTracker().start(beginning(tmp_path, ("bee", "=1+1")))
    assert "WANDB_MODE=offline" in str(problem.value.hint)


@pytest.mark.slow  # W&B tries for six seconds
def test_a_server_that_does_not_answer_costs_no_row(
    tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "0.5")
    tracker = WandbTracker()
    tracker.start(beginning(tmp_path, ("bee", "=1+1")))
    tracker.log_row(0, {"train/box_loss": 0.5})
    tracker.finish(FitEnd("finished", 1, 0, 0.0, (), 1.0))
    assert "tracker `wandb` works offline" in caplog.text
    assert read_stores(tmp_path)[-1].rows() == {0: {"train/box_loss": 0.5}}


def test_a_wandb_of_another_kind_counts_as_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder called `wandb`, as runs leave behind, is a package for Python if the real one is missing."""
    monkeypatch.delattr("wandb.Settings")
    with pytest.raises(AttributeError, match="Settings"):
        WandbTracker()


@pytest.mark.parametrize("splits", [("train", "val"), ("val",)])
def test_the_dataset_is_kept_as_the_run_reads_it(
    tiny_run: dict[str, Any], offline: None, tmp_path: Path, splits: tuple[str, ...]
) -> None:
    data = tiny_run["data"]
    before = {path: path.stat().st_mtime_ns for path in data.parent.rglob("*")}
    result = follow("wandb", tiny_run, epochs=1, upload_dataset="all" if len(splits) == 2 else "val")
    assert {path: path.stat().st_mtime_ns for path in data.parent.rglob("*")} == before
    artifact = read_stores(result.run_folder)[0].artifacts[0]
    assert (artifact.type, artifact.name, list(artifact.aliases)) == ("dataset", "data", ["latest"])
    places = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    for split in splits:
        images = {name: path for name, path in places.items() if name.startswith(f"images/{split}/")}
        assert {path.resolve() for path in images.values()} == set((data.parent / "images" / split).resolve().iterdir())
    copy = tmp_path / "copy"
    for name, path in places.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(path.read_bytes())
    assert sorted(path.name for path in (copy / "images").iterdir()) == sorted(splits)
    if len(splits) == 2:
        again = train({**tiny_run, "epochs": 1, "data": copy / "data.yaml", "noplots": True})
        assert bits_of(again) == bits_of(result)
