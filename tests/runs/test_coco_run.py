"""A run on COCO's classes ends with COCO's files and numbers."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from onelook.recipes.train import train
from onelook.structures.coco_classes import COCO_CATEGORY_IDS, COCO_NAMES


def test_a_run_on_coco_classes_writes_its_json_and_says_the_official_numbers(
    tiny_data: Path,
    tiny_model: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "coco.yaml"
    data.write_text(
        f"path: {tiny_data.parent}\ntrain: images/train\nval: images/val\nnames: {json.dumps(list(COCO_NAMES))}\n"
    )
    given = {
        "data": data,
        "cfg": tiny_model,
        "epochs": 1,
        "batch_size": 8,
        "imgsz": 64,
        "workers": 0,
        "conf_thres": 1e-9,
    }
    with caplog.at_level(logging.INFO, "onelook"):
        result = train({**given, "device": "cpu", "noplots": True, "noreport": True, "project": tmp_path / "runs"})
    (line,) = [record.message for record in caplog.records if record.message.startswith("COCO's numbers")]
    assert line.startswith("COCO's numbers, NMS at IoU 0.65: AP ")

    predictions = json.loads((result.run_folder / "coco_predictions.json").read_text())
    assert {found["category_id"] for found in predictions} <= set(COCO_CATEGORY_IDS)
    dataset = COCO(str(result.run_folder / "coco_truth.json"))
    judge = COCOeval(dataset, dataset.loadRes(predictions), "bbox")
    judge.params.maxDets = [1, 10, 300]
    judge.evaluate()
    judge.accumulate()
    precision = judge.eval["precision"][..., 0, -1]
    expected = [precision[precision > -1].mean(), precision[0][precision[0] > -1].mean()]
    said = [float(number) for number in re.findall(r"AP(?:50)? ([0-9.]+)", line)]
    assert said == pytest.approx(np.round(expected, 4).tolist(), abs=1e-4)
