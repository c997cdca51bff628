"""CSV and JSON that grow frame by frame: whole at the end, nothing under their names before."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from onelook.callbacks.detection_rows import CsvOfDetections, GrowingText, JsonOfDetections, detection_rows
from onelook.data.media import VideoInfo
from onelook.inference.sources import Frame
from onelook.structures.detections import Detections

IMAGE = np.zeros((40, 60, 3), np.uint8)
FOUND = Detections(
    np.array([[1, 2, 11, 22], [0, 0, 5, 5]], np.float32), np.array([0.75, 0.5], np.float32), np.array([1, 0])
)
NAMES = ("bee", "+wasp")


def rows(frame: Frame) -> list[dict[str, object]]:
    return detection_rows(frame, FOUND, NAMES, image_id=frame.shown)


def test_both_files_hold_the_rows_of_all_frames(tmp_path: Path) -> None:
    video = VideoInfo(fps=30, num_frames=0, size_hw=(40, 60))
    frames = [Frame(Path("=a.jpg"), IMAGE), Frame(Path("cam"), IMAGE, 7, video, address="camera 0", is_live=True)]
    files = {"p.csv": CsvOfDetections(tmp_path / "p.csv"), "p.json": JsonOfDetections(tmp_path / "p.json", NAMES)}
    for name, file in files.items():
        for frame in frames:
            file.add(rows(frame))
            assert not (tmp_path / name).exists()
        file.add([])
        file.close()
    assert {path.name for path in tmp_path.iterdir()} == {"p.csv", "p.json"}
    with (tmp_path / "p.csv").open(newline="") as text:
        table = list(csv.DictReader(text))
    entries = json.loads((tmp_path / "p.json").read_text())
    assert [(row["file"], row["frame"], row["class"]) for row in table] == [
        ("'=a.jpg", "", "'+wasp"), ("'=a.jpg", "", "bee"), ("camera 0", "7", "'+wasp"), ("camera 0", "7", "bee"),
    ]  # fmt: skip
    assert [float(table[0][name]) for name in ("score", "x1", "y1", "x2", "y2")] == [0.75, 1, 2, 11, 22]
    assert entries[0] == {
        "image_id": "=a.jpg", "file_name": "=a.jpg", "category_id": 1, "category_name": "+wasp",
        "bbox": [1, 2, 10, 20], "score": 0.75,
    }  # fmt: skip
    assert [entry.get("frame") for entry in entries] == [None, None, 7, 7]


def test_nothing_found_is_an_empty_list_and_a_head_line(tmp_path: Path) -> None:
    for file in (CsvOfDetections(tmp_path / "p.csv"), JsonOfDetections(tmp_path / "p.json", NAMES)):
        file.add([])
        file.close()
    assert json.loads((tmp_path / "p.json").read_text()) == []
    assert (tmp_path / "p.csv").read_text() == "file,frame,class_id,class,score,x1,y1,x2,y2\n"


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.csv"
    path.write_text("old")
    text = GrowingText(path)
    text.append("new")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        text.close()
    assert caught.value.filename == str(path)
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["p.csv"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full_at_the_last_bracket_leaves_no_file(tmp_path: Path) -> None:
    file = JsonOfDetections(tmp_path / "p.json", NAMES)
    file._text.append("x" * 8191)  # one more, and the buffer goes to the disk
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file._text._file.fileno())
    os.close(full)
    with pytest.raises(OSError, match="No space left") as caught:
        file.close()
    assert caught.value.filename == str(tmp_path / "p.json")
    assert not list(tmp_path.iterdir())
