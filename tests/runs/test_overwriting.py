"""No command writes over a file that it reads, whatever it is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_runs import Home, run, state_of, texts

from onelook.errors import SettingsError
from onelook.files.overwriting import refuse_inputs_inside, refuse_to_replace
from onelook.recipes.split_dataset import split_dataset


def into_data(home: Home) -> list[object]:
    return ["--project", home.data.parent, "--name", home.data.name, "--exist-ok"]


def beside_weights(home: Home) -> list[object]:
    """A run folder that holds the weights which are read."""
    folder = home.work / "runs" / "old" / "weights"
    folder.mkdir(parents=True)
    shutil.copy(home.weights, folder / "last.safetensors")
    return ["--weights", folder / "last.safetensors", "--project", "runs", "--name", "old", "--exist-ok"]


def folds(home: Home) -> list[object]:
    """Lists of two folds in `folds`, and the words that train on them."""
    split_dataset({"data": home.yaml, "folds": 2, "output": home.work / "folds", "near": -1})
    return ["--folds", home.work / "folds"]


def run_folder(home: Home) -> Path:
    return home.weights.parents[1]


CASES: dict[str, Callable[[Home], list[str]]] = {
    "train beside its weights": lambda w: w.train("--cfg", "", *beside_weights(w)),
    "train into its dataset": lambda w: w.train(*into_data(w)),
    "val into its dataset": lambda w: w.val("--save-txt", *into_data(w)),
    "val beside its weights": lambda w: w.val(*beside_weights(w)),
    "detect into its source": lambda w: w.detect("--save-txt", *into_data(w)),
    "detect beside its weights": lambda w: w.detect(*beside_weights(w)),
    "benchmark beside its weights": lambda w: texts("benchmark", *beside_weights(w), "--format", "torchscript"),
    "export over its dataset": lambda w: texts(
        "export", "--weights", shutil.copy(w.weights, w.work / "a.safetensors"), "--format", "onnx", "--exist-ok",
        "--data", shutil.copy(w.yaml, w.work / "a.onnx.report.json"),
    ),
    "convert over its weights": lambda w: texts(
        "convert", shutil.copy(w.weights, w.work / "a.safetensors"),
        "--out", w.work / "a.safetensors", "--half", "--exist-ok",
    ),
    "anchors over an image": lambda w: texts("anchors", w.yaml, "--output", w.image()),
    "report over the results": lambda w: texts(
        "report", shutil.copytree(run_folder(w), w.work / "run"), "--out", w.work / "run" / "results.csv"
    ),
    "check over its dataset": lambda w: texts(
        "check", shutil.copy(w.yaml, w.work / "check.json"), "--output", w.work, "--exist-ok"
    ),
    "evolve into its dataset": lambda w: ["evolve", *w.train("--evolve", 1, *into_data(w))[1:]],
    "evolve beside its weights": lambda w: ["evolve", *w.train("--evolve", 1, *beside_weights(w))[1:]],
    "folds into their lists": lambda w: texts(
        "train", *folds(w), *w.train()[3:], "--project", w.work, "--name", "folds", "--exist-ok"
    ),
    "split over its dataset": lambda w: texts("split", w.yaml, "--output", w.data),
    "autosplit over its lists": lambda w: texts(
        "autosplit", w.data / "images", "--output", shutil.copy(w.yaml, w.data / "images" / "autosplit_val.txt").parent
    ),
    "convert-data over its dataset": lambda w: texts("convert-data", w.yaml, "--to", "coco", "--out", w.data),
    "convert-data among its images": lambda w: texts(
        "convert-data", w.yaml, "--to", "coco", "--out", w.data / "images" / "train" / "new"
    ),
    "check fixes into its dataset": lambda w: texts("check", w.yaml, "--fix", w.data),
    "check fixes among its images": lambda w: texts("check", w.yaml, "--fix", w.data / "images" / "train" / "new"),
    "report page over its results": lambda w: texts(
        "report", shutil.copytree(run_folder(w), w.work / "run"), "--out", w.work / "run" / "metrics.json"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_command_leaves_what_it_reads(name: str, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    words = CASES[name](home)
    before = state_of(home.data), state_of(home.work)
    outcome = run(words, capsys)
    assert outcome.code != 0 and "error: " in outcome.err
    after = state_of(home.data), state_of(home.work)
    lost = [
        path
        for old, new in zip(before, after, strict=True)
        for path in old
        if new.get(path, (0, 0, b""))[2] != old[path][2]
    ]
    assert not lost, outcome.err


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.jpg").write_bytes(b"x")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "0.jpg").write_bytes(b"x")
    (tmp_path / "there" / "a.jpg").symlink_to(tmp_path / "run" / "a.jpg")
    (tmp_path / "again").symlink_to(tmp_path / "run")
    refuse_inputs_inside(tmp_path / "run", [tmp_path / "there" / "0.jpg"])
    for folder, path in (("run", "there/a.jpg"), ("again", "run/a.jpg"), ("run", "again/a.jpg")):
        with pytest.raises(SettingsError, match="would be read"):
            refuse_inputs_inside(tmp_path / folder, [tmp_path / "there" / "0.jpg", tmp_path / path])
    refuse_to_replace(tmp_path / "run" / "b.jpg", [tmp_path / "run" / "a.jpg"])
    with pytest.raises(SettingsError, match="is read, so it cannot be written"):
        refuse_to_replace(tmp_path / "again" / "a.jpg", [tmp_path / "there" / "a.jpg"])
