"""Objects over time in a detection run: the ids in every file, in the images and in Python."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_detector import SIDE, SQUARE, write_detector
from option_runs import covers

import onelook
from onelook.data.media import VideoWriter
from onelook.errors import SettingsError
from onelook.files.images import write_image
from onelook.recipes.detect import DetectResult, detect

NUM_FRAMES = 9
Image = np.ndarray[Any, np.dtype[np.uint8]]


def frames() -> list[Image]:
    """A green square that moves to the right above a blue one that moves to the left, which one frame lacks."""
    made = []
    for number in range(NUM_FRAMES):
        image = np.full((SIDE, SIDE, 3), 30, np.uint8)
        image[8 : 8 + SQUARE, 8 * number : 8 * number + SQUARE] = (40, 220, 40)
        if number != 4:
            image[56 : 56 + SQUARE, 64 - 8 * number : 64 - 8 * number + SQUARE] = (40, 40, 220)
        made.append(image)
    return made


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "squares.mp4"
    writer = VideoWriter(path, fps=10, size_hw=(SIDE, SIDE))
    for image in frames():
        writer.write(image)
    writer.close()
    fixed = {"imgsz": SIDE, "device": "cpu", "project": tmp_path / "runs", "batch_size": 4}
    return {"weights": write_detector(tmp_path), "source": path, **fixed}


def ids_of(result: DetectResult) -> list[set[tuple[int, int]]]:
    """Class and id of each object, frame by frame."""
    found = [frame.detections for frame in result.frames]
    assert all(each.object_ids is not None for each in found)
    return [set(zip(each.class_ids.tolist(), each.object_ids.tolist(), strict=True)) for each in found]


@covers("detect", "tracker")
def test_objects_of_a_video_keep_their_ids_in_all_files(given: dict[str, Any]) -> None:
    plain = detect({**given, "save_txt": True, "save_csv": True})
    assert all(frame.detections.object_ids is None for frame in plain.frames)
    result = detect({**given, "tracker": "bytetrack", "save_txt": True, "save_csv": True, "save_json": True})
    ids = ids_of(result)
    assert set.union(*ids) == {(0, 1), (1, 2)} or set.union(*ids) == {(0, 2), (1, 1)}
    assert [len(each) for each in ids] == [2, 2, 2, 2, 1, 2, 2, 2, 2]
    folder = result.run_folder
    assert folder is not None and plain.run_folder is not None
    rows = list(csv.DictReader((folder / "predictions.csv").open()))
    entries = json.loads((folder / "predictions.json").read_text())
    expected = [(number, *each) for number, frame in enumerate(ids) for each in sorted(frame)]
    assert sorted((int(row["frame"]), int(row["class_id"]), int(row["object"])) for row in rows) == expected
    assert sorted((each["frame"], ["green", "blue"].index(each["category_name"]), each["object_id"])
                  for each in entries) == expected  # fmt: skip
    for number, frame in enumerate(ids):
        lines = [line.split() for line in (folder / f"labels/squares_{number}.txt").read_text().splitlines()]
        assert {(int(line[0]), int(line[-1])) for line in lines} == frame and {len(line) for line in lines} == {6}
    assert "object" not in (plain.run_folder / "predictions.csv").read_text().splitlines()[0]


def test_ids_are_drawn_and_followed_in_python(given: dict[str, Any]) -> None:
    detector = onelook.load(given["weights"], imgsz=SIDE, device="cpu")
    results = list(detector.track(iter(frames())))
    assert [len(each) for each in results] == [2, 2, 2, 2, 1, 2, 2, 2, 2]
    ids = [dict(zip(each.class_ids.tolist(), each.object_ids.tolist(), strict=True)) for each in results]
    assert all(each[class_id] == ids[0][class_id] for each in ids for class_id in each)
    assert json.loads(results[3].to_json())["detections"][0]["object_id"] in (1, 2)
    assert results[3].to_pandas()["object"].tolist() == results[3].object_ids.tolist()
    without = detector(frames()[3])
    assert isinstance(without, onelook.ImageResult) and without.object_ids is None
    assert (results[3].plot() != without.plot()).any()


def test_single_images_are_not_followed_and_the_message_says_what_is(given: dict[str, Any], tmp_path: Path) -> None:
    write_image(tmp_path / "one.png", frames()[0])
    with pytest.raises(SettingsError, match="`tracker` follows objects from frame to frame") as refused:
        detect({**given, "source": tmp_path / "one.png", "tracker": "bytetrack"})
    assert "`detector.track(images)`" in str(refused.value.hint)
    both = detect({**given, "source": [str(tmp_path / "one.png"), str(given["source"])], "tracker": "bytetrack"})
    assert both.frames[0].detections.object_ids is None and ids_of(
        DetectResult(both.frames[1:], 0, (), None, (), {}, 0.0)
    )
