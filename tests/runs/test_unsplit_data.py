"""One file in, split by us: a training divides the export of an annotation tool, and remembers how."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_runs import run, texts
from option_runs import QUICK, covers
from tool_exports import EXPORTS, labelled_images

from onelook.errors import CheckpointError, DataError
from onelook.recipes.split_dataset import split_dataset
from onelook.recipes.train import train
from onelook.recipes.train_result import TrainResult
from onelook.recipes.validate import validate


@pytest.fixture
def given(tiny_model: Path, tmp_path: Path) -> dict[str, Any]:
    """A training of one short epoch."""
    return {**QUICK, "cfg": tiny_model, "epochs": 1, "batch_size": 4, "project": tmp_path / "runs"}


def lists_in(folder: Path) -> dict[str, list[str]]:
    return {path.stem: path.read_text().splitlines() for path in sorted(folder.glob("*.txt"))}


@covers("train", "split")
# The other formats are read in `tests/data/test_tool_formats.py`.
@pytest.mark.parametrize(
    "tool", [pytest.param(tool, marks=() if tool in ("csv", "labelme") else pytest.mark.slow) for tool in EXPORTS]
)
def test_training_divides_an_export_as_split_does(
    tiny_data: Path, tmp_path: Path, given: dict[str, Any], tool: str
) -> None:
    export = EXPORTS[tool](labelled_images(tiny_data), tmp_path / "export")
    result = train({**given, "data": export, "split": 0.7, "seed": 3})
    lists = lists_in(result.run_folder / "split")
    split_dataset({"data": export, "output": tmp_path / "out", "fractions": [0.7, 0.3], "stratify": True, "seed": 3})
    assert lists == lists_in(tmp_path / "out") and len(lists["train"]) + len(lists["val"]) == 20
    assert result.metrics.num_images == len(lists["val"]) == pytest.approx(6, abs=1)
    for data in (export, result.run_folder / "split/data.yaml", tmp_path / "out/data.yaml"):
        again = validate({"data": data, "weights": [result.best], "project": tmp_path / "val", "noplots": True,
                          "device": "cpu", "workers": 0})  # fmt: skip
        assert again.metrics.num_images == result.metrics.num_images
        assert again.metrics.num_labels == result.metrics.num_labels


@pytest.fixture
def trained(tiny_data: Path, tmp_path: Path, given: dict[str, Any]) -> Iterator[TrainResult]:
    """A training on the folder of a CSV, of one epoch."""
    export = EXPORTS["csv"](labelled_images(tiny_data), tmp_path / "export").parent
    yield train({**given, "data": export, "split": 0.7})


def test_resume_takes_the_recorded_division(trained: TrainResult, tmp_path: Path) -> None:
    before = lists_in(trained.run_folder / "split")
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "export", moved)
    more = train({"resume": str(trained.run_folder), "epochs": 2, "data": moved})
    assert lists_in(trained.run_folder / "split") == before
    assert more.metrics.num_images == len(before["val"])
    for split in ("train", "val"):
        other = {"train": "val", "val": "train"}[split]
        (trained.run_folder / f"split/{split}.txt").write_text("".join(f"{line}\n" for line in before[other]))
    with pytest.raises(CheckpointError, match=r"images or labels of .* have changed"):
        train({"resume": str(trained.run_folder), "epochs": 3, "data": moved})


def test_data_and_option_that_do_not_fit_are_refused_with_the_cure(
    tiny_data: Path, tmp_path: Path, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    export = EXPORTS["cvat"](labelled_images(tiny_data), tmp_path / "export")
    with pytest.raises(DataError, match="is not divided into train and val") as refused:
        train({**given, "data": export})
    assert "`onelook train --split 0.8`" in str(refused.value.hint)
    with pytest.raises(DataError, match="already has splits: train, val, test"):
        train({**given, "data": tiny_data, "split": 0.8})
    with pytest.raises(DataError, match="split `val` would have no image"):
        train({**given, "data": EXPORTS["cvat"](labelled_images(tiny_data)[:1], tmp_path / "one"), "split": 0.8})
    assert not (tmp_path / "runs").exists()
    outcome = run(texts("check", export), capsys)
    assert outcome.code == 0 and "all: 20 images" in outcome.out + outcome.err
