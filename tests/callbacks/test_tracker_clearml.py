"""What ClearML keeps offline is what the run has written; it takes hold of nothing else in the process."""

from __future__ import annotations

import json
import multiprocessing.process
import os
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from stop_at import StopAt
from tracker_runs import Draw, bits_of, follow, results_of

from onelook.callbacks.trackers.clearml import DETECTION_COLOUR, LABEL_COLOUR, drawn_boxes
from onelook.callbacks.trackers.tracker import LabelledImage
from onelook.errors import StopRequested
from onelook.structures.detections import Detections

Row = dict[str, Any]
CLEARML_SEED = 1337


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ClearML as for a user who has said offline, which it remains; the folder of its sessions."""
    import clearml  # takes a second, which only those who follow a run with it need to wait

    monkeypatch.setenv("HOME", str(tmp_path))  # it notes there what it has done last
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "clearml"))
    clearml.Task.set_offline(True)
    return tmp_path / "clearml" / "offline"


class Session:
    """One archive of one process.

    Attributes:
        task: what the task is, and its settings.
        events: what was logged.
        files: names in the archive.
    """

    def __init__(self, path: Path) -> None:
        with ZipFile(path) as files:
            self.task: Row = json.loads(files.read("task.json"))
            lines = files.read("metrics.jsonl").splitlines()
            self.files = files.namelist()
        self.events: list[Row] = [event for line in lines for event in json.loads(line)]

    def rows(self) -> dict[int, dict[str, float]]:
        """Epoch -> the numbers."""
        rows: dict[int, dict[str, float]] = {}
        for event in self.events:
            if event["type"] == "training_stats_scalar" and event["metric"] != "Summary":
                rows.setdefault(event["iter"], {})[f"{event['metric']}/{event['variant']}"] = event["value"]
        return rows

    def summary(self) -> dict[str, float]:
        """Single values."""
        return {event["variant"]: event["value"] for event in self.events if event["metric"] == "Summary"}

    def images(self, title: str) -> list[tuple[str, int]]:
        """Name and epoch of the debug samples of a title."""
        samples = [event for event in self.events if event["type"] == "training_debug_image"]
        return [(event["variant"], event["iter"]) for event in samples if event["metric"] == title]


def sessions(folder: Path) -> list[Session]:
    """What is in the folder, oldest first."""
    return [Session(path) for path in sorted(folder.glob("*.zip"), key=lambda path: path.stat().st_mtime_ns)]


def test_the_session_agrees_with_the_run_folder(tiny_run: Row, offline: Path, untracked_bits: list[bytes]) -> None:
    held = multiprocessing.process.BaseProcess.run, os._exit, os.fork, sys.excepthook
    result = follow("clearml", tiny_run, Draw(), save_period=1)
    assert torch.initial_seed() != CLEARML_SEED, "nobody's seed is set"
    assert held == (multiprocessing.process.BaseProcess.run, os._exit, os.fork, sys.excepthook)
    (session,) = sessions(offline)
    assert session.rows() == results_of(result.run_folder) and len(session.rows()) == 2
    assert (session.task["project_name"], session.task["name"]) == ("runs", "exp")
    settings = {name: entry["value"] for name, entry in session.task["hyperparams"]["settings"].items()}
    assert (settings["fliplr"], settings["imgsz"], settings["freeze"]) == ("0.5", "64", "[0]")
    classes = {name: entry["value"] for name, entry in session.task["hyperparams"]["classes"].items()}
    assert classes == {"0": "square", "1": "disc"}
    assert session.summary()["mAP_0.5:0.95"] == result.metrics.map50_95
    assert session.images("images") == [("labels.png", 0), ("results.jpg", 1)]
    assert session.images("boxes") == [(f"{number:03}.jpg", epoch) for epoch in range(2) for number in range(6)]
    assert {artifact["key"] for artifact in session.task["execution"]["artifacts"]} == {"best", "epoch0", "epoch1"}
    assert sum(name.endswith(".safetensors") for name in session.files) == 3
    assert "script" not in session.task, "no code"
    assert bits_of(result) == untracked_bits


@pytest.mark.slow  # as the other trackers show
def test_a_resumed_run_has_a_session_of_its_own(tiny_run: Row, offline: Path) -> None:
    with pytest.raises(StopRequested):
        follow("clearml", tiny_run, StopAt(3))
    run_folder = tiny_run["project"] / "exp"
    follow("clearml", {"resume": str(run_folder)})
    before, after = sessions(offline)
    assert before.rows() | after.rows() == results_of(run_folder) and list(after.rows()) == [1]
    assert not (run_folder / "clearml_id").exists(), "no server knows an offline session"


def test_boxes_are_drawn_where_they_are_on_an_image_after_exif_rotation(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6  # to be shown a quarter turn to the right
    Image.new("RGB", (40, 60)).save(tmp_path / "turned.png", exif=turned)
    found = Detections(
        np.array([[30, 5, 50, 35], [2, 2, 8, 8]], np.float32), np.array([0.9, 0.2], np.float32), np.array([1, 0])
    )
    image = LabelledImage(tmp_path / "turned.png", (40, 60), ("bee", "ant"), found, [([10.0, 12.0, 25.0, 30.0], 0)])
    pixels = np.asarray(drawn_boxes(image))
    assert pixels.shape == (40, 60, 3)
    assert (pixels[30, 10:26] == LABEL_COLOUR).all() and (pixels[12:31, 25] == LABEL_COLOUR).all()
    assert (pixels[35, 30:51] == DETECTION_COLOUR).all() and (pixels[5:36, 50] == DETECTION_COLOUR).all()
    assert not pixels[:9, :9].any(), "a score below what is shown"
