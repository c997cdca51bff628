"""What Comet packs offline is what the run has written, and nothing that nobody asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from stop_at import StopAt
from tracker_runs import Draw, bits_of, follow, results_of

from onelook.callbacks.trackers.comet import ENVIRONMENT
from onelook.errors import StopRequested

Row = dict[str, Any]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comet as for a user who has said offline, and who has settled nothing else."""
    for name in ("COMET_API_KEY", "COMET_PROJECT_NAME", "COMET_WORKSPACE", *ENVIRONMENT):
        monkeypatch.setenv(name, "")  # noted, so that what the tracker sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("COMET_START_ONLINE", "0")


class Archive:
    """One archive of one process.

    Attributes:
        experiment: what names the experiment.
        messages: what was logged, by kind.
    """

    def __init__(self, path: Path) -> None:
        with ZipFile(path) as files:
            self.experiment: Row = json.loads(files.read("experiment.json"))
            lines = [json.loads(line) for line in files.read("messages.json").splitlines()]
        self.messages: dict[str, list[Row]] = {}
        for line in sorted(lines, key=lambda line: int(line["payload"]["message_id"])):
            self.messages.setdefault(line["type"], []).append(line["payload"])

    def rows(self) -> dict[int, dict[str, float]]:
        """Epoch -> the numbers that `results.csv` has, too."""
        rows: dict[int, dict[str, float]] = {}
        for metric in (message["metric"] for message in self.messages["metric_msg"]):
            if metric["metricName"].startswith(("train/", "val/", "metrics/", "x/")):
                assert metric["step"] == metric["epoch"]
                rows.setdefault(metric["epoch"], {})[metric["metricName"]] = metric["metricValue"]
        return rows

    def metric(self, name: str) -> float:
        """The last value."""
        found = [m["metric"]["metricValue"] for m in self.messages["metric_msg"] if m["metric"]["metricName"] == name]
        return float(found[-1])

    def uploads(self, kind: str) -> list[Row]:
        """Files of a kind."""
        return [message for message in self.messages["file_upload"] if message["upload_type"] == kind]

    def settings(self) -> Row:
        """Parameters that were logged, not gathered."""
        found = [message.get("param") or message["params"] for message in self.messages["parameter_msg"]]
        return {param["paramName"]: param["paramValue"] for param in found if param["source"] == "manual"}


def archives(run_folder: Path) -> list[Archive]:
    """What is in the run folder, oldest first."""
    return [Archive(path) for path in sorted(run_folder.glob("comet/*.zip"), key=lambda path: path.stat().st_mtime_ns)]


def test_the_archive_agrees_with_the_run_folder(
    tiny_run: Row, offline: None, caplog: pytest.LogCaptureFixture, untracked_bits: list[bytes]
) -> None:
    caplog.set_level("INFO", "onelook")
    excepthook, finders = sys.excepthook, list(sys.meta_path)
    result = follow("comet", tiny_run, Draw(), save_period=1)
    (archive,) = archives(result.run_folder)
    assert archive.rows() == results_of(result.run_folder) and len(archive.rows()) == 2
    assert (archive.experiment["project_name"], archive.experiment["workspace"]) == ("runs", None)
    assert {"key": "Name", "value": "exp"}.items() <= archive.messages["log_other"][1].items()
    settings = archive.settings()
    assert (settings["fliplr"], settings["imgsz"], settings["freeze"]) == (0.5, 64, [0])
    assert archive.metric("best/mAP_0.5:0.95") == result.metrics.map50_95
    images = archive.uploads("visualization")
    drawn = [image["additional_params"]["figName"] for image in images if not image["metadata"]]
    assert drawn == ["labels.png", "results.jpg"]
    assert [image["additional_params"]["step"] for image in images if image["metadata"]] == [0] * 6 + [1] * 6
    models = [model["additional_params"] for model in archive.uploads("model-element")]
    assert [(model["groupingName"], model["fileName"]) for model in models] == [
        (name, f"{name}.safetensors") for name in ("epoch0", "epoch1", "best")
    ]
    kinds = {"file_upload", "log_other", "metric_msg", "parameter_msg"}
    assert set(archive.messages) == kinds, "no code, output or machine"
    assert {upload["upload_type"] for upload in archive.messages["file_upload"]} == {"visualization", "model-element"}
    assert f"tracker `comet`: {result.run_folder / 'comet'}" in caplog.text
    assert bits_of(result) == untracked_bits
    assert sys.excepthook is excepthook and sys.meta_path == finders


def test_boxes_are_those_of_labels_and_detections(tiny_run: Row, offline: None) -> None:
    result = follow("comet", tiny_run, epochs=1)
    (archive,) = archives(result.run_folder)
    data = tiny_run["data"].parent
    for image in archive.uploads("visualization"):
        labels, detections = image["metadata"]["annotations"]
        label = (data / "labels" / "val" / image["additional_params"]["figName"]).with_suffix(".txt")
        rows = [line.split() for line in label.read_text().splitlines()]
        assert [entry["label"] for entry in labels["data"]] == [("square", "disc")[int(row[0])] for row in rows]
        x, y, width, height = np.array([entry["boxes"][0] for entry in labels["data"]]).T
        found = np.stack([x + width / 2, y + height / 2, width, height], axis=1) / 96
        np.testing.assert_allclose(found, np.array(rows, float)[:, 1:], atol=1e-5)
        assert all(0 < entry["score"] < 1 for entry in detections["data"])


def test_a_resumed_run_continues_in_its_experiment(tiny_run: Row, offline: None) -> None:
    with pytest.raises(StopRequested):
        follow("comet", tiny_run, StopAt(3))
    run_folder = tiny_run["project"] / "exp"
    follow("comet", {"resume": str(run_folder)})
    before, after = archives(run_folder)
    assert before.experiment["offline_id"] == after.experiment["offline_id"]
    assert after.experiment["resume_strategy"] == "get_or_create", "it is added to what is there"
    assert before.rows() | after.rows() == results_of(run_folder) and list(after.rows()) == [1]
