"""Foreign command lines: the message has our names, and the whole corrected line."""

from __future__ import annotations

import shlex

import pytest

from onelook.cli.main import main

CASES = {
    "predict --weights best.pt --source a.jpg": "onelook detect --weights best.pt --source a.jpg",
    "predict model=best.pt source=a.jpg": "onelook detect --weights best.pt --source a.jpg",
    "detect train data=bees.yaml model=a.pt imgsz=320": "onelook train --data bees.yaml --weights a.pt --imgsz 320",
    "yolo detect val data=bees.yaml": "onelook val --data bees.yaml",
    "tune data=bees.yaml": "onelook evolve --data bees.yaml",
    "train data=bees.yaml model=yolov5n.yaml epochs=3": "onelook train --data bees.yaml --cfg yolov5n.yaml --epochs 3",
    "train data=bees.yaml model=yolov5n batch=8": "onelook train --data bees.yaml --cfg yolov5n --batch-size 8",
    "train --data bees.yaml --model yolov5n.pt": "onelook train --data bees.yaml --weights yolov5n.pt",
    "train --data bees.yaml --gpu 0": "onelook train --data bees.yaml --device 0",
    "train --data bees.yaml --lr=0.01": "onelook train --data bees.yaml --lr0=0.01",
    "detect --model best.pt --source 'my images'": "onelook detect --weights best.pt --source 'my images'",
    "detect --weights best.pt --source a.jpg --show": "onelook detect --weights best.pt --source a.jpg --view-img",
    "detect --weights b.pt --source a show_labels=False": "onelook detect --weights b.pt --source a --hide-labels",
    "export --weights best.pt --formats onnx": "onelook export --weights best.pt --format onnx",
    "export model=best.pt format=onnx": "onelook export --weights best.pt --format onnx",
    "check data=bees.yaml": "onelook check bees.yaml",
    "val model=best.pt data=bees.yaml conf=0.1": "onelook val --weights best.pt --data bees.yaml --conf-thres 0.1",
}


@pytest.mark.parametrize("typed", CASES)
def test_foreign_line_gets_the_whole_corrected_one(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(typed)) == 2
    assert f"hint: type `{CASES[typed]}`" in capsys.readouterr().err


def test_values_that_look_like_assignments_stay_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--name", "batch=8", "--data", "no such file.yaml"]) != 2
    assert "batch=8" not in capsys.readouterr().err
