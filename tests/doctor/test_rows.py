"""Every outcome that a ledger knows is a fault that the doctor knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from colour_detector import write_squares

from onelook.data.formats.label_rows import Outcome
from onelook.data.scan.ledger import LedgerEntry
from onelook.doctor.faults import FAULTS
from onelook.doctor.rows import kind_of
from onelook.recipes.check import check
from onelook.recipes.convert_data import convert_data


@pytest.mark.parametrize("outcome", [*get_args(Outcome), "unusable image"])
def test_every_outcome_has_its_fault(outcome: str) -> None:
    entry = LedgerEntry("a.txt", 1, "", "some reason", outcome)  # type: ignore[arg-type]
    assert kind_of(entry) in FAULTS


def test_crowds_in_coco_files_are_set_aside(tmp_path: Path) -> None:
    data = write_squares(tmp_path / "data")
    coco = convert_data({"data": data, "to": "coco", "out": tmp_path / "coco"}).path
    file = tmp_path / "coco" / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["iscrowd"] = 1
    file.write_text(json.dumps(content))
    found = [finding.kind for finding in check({"data": coco, "near": -1}).diagnosis.findings]
    assert found == ["set-aside"]
    fixed = check({"data": coco, "near": -1, "fix": str(tmp_path / "fixed")}).fixed
    assert fixed is not None and check({"data": fixed, "near": -1}).diagnosis.findings == ()
