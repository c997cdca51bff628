"""`onelook info`: what files of weights hold, as text and as JSON."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from command_runs import Home, Outcome, run, texts
from option_runs import covers
from yolov5_files import DATE, Look, halved, stripped

from onelook.errors import OnelookError
from onelook.exports.folder import write_folder_metadata
from onelook.exports.metadata import Metadata
from onelook.exports.openvino import MODEL, import_openvino
from onelook.models.count import summarise
from onelook.recipes.info import InfoResult, info
from onelook.runs.checkpoint import load_checkpoint
from onelook.training.weights import load_detector


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> Outcome:
    return run(texts("info", *words), capsys)


@covers("info", "weights", "imgsz")
def test_detector_is_described(tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = shown(capsys, tiny_weights, "--img", 128)
    data = tiny_weights.read_bytes()
    summary = summarise(load_detector(tiny_weights), imgsz=128)
    metrics = load_checkpoint(tiny_weights).document["metrics"]
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(
        f"{tiny_weights}: detector, {len(data) / 1e6:,.2f} MB\nSHA-256: {hashlib.sha256(data).hexdigest()}\n"
        f"model: {summary.layers} layers, {summary.parameters:,} parameters, {summary.gflops:.1f} GFLOPs at 128 x 128, "
        "strides 8 16 32\nclasses: 2 ('square', 'disc')\n"
    )
    assert f"metrics: precision {metrics['precision']:.4f}, recall" in outcome.out
    assert re.search(r"^settings: .*\bepochs 1\b.*\bimgsz 64\b", outcome.out, re.MULTILINE)
    assert "lrf" not in outcome.out, "a setting with its default value is not worth a word"


def test_run_is_described(tiny_weights: Path) -> None:
    result = info({"weights": tiny_weights.with_name("last.safetensors")})
    assert (result.kind, result.facts["epoch"], result.facts["step"]) == ("training run", 1, 5)
    assert result.facts["best_epoch"] == 0 and not result.facts["is fused"]
    assert (result.settings["batch_size"], result.changed["batch_size"]) == (4, 4)


def test_checkpoint_of_yolov5_is_described(tiny_weights: Path, tmp_path: Path) -> None:
    model = load_detector(tiny_weights)
    model.load_state_dict(halved(model))
    path = tmp_path / "bees.pt"
    path.write_bytes(stripped(model, Look(names_as_mapping=True)))
    result = info({"weights": path})
    assert (result.kind, result.names) == ("YOLOv5 checkpoint", ("square", "disc"))
    assert (result.facts["weights"], result.facts["date"]) == ("as stored", DATE)
    assert result.facts["origin"].endswith("licence AGPL-3.0")
    assert result.summary == summarise(model)


def test_exported_model_is_described(tiny_weights: Path, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    words = texts("export", "--weights", tiny_weights, "--include", "torchscript", "--img", 64, "--device", "cpu")
    assert run(words, capsys).code == 0
    path = tiny_weights.with_suffix(".torchscript")
    result = info({"weights": path})
    assert (result.kind, result.names, result.summary) == ("torchscript", ("square", "disc"), None)
    assert (result.facts["frame_hw"], result.facts["precision"]) == ((64, 64), "fp32")
    outcome = shown(capsys, path, "--rows")
    assert (outcome.code, "is an exported model: its layers are not listed" in outcome.err) == (3, True)


def test_exported_folder_is_described(tmp_path: Path) -> None:
    folder, openvino = tmp_path / "bees_openvino", import_openvino()
    pixels = openvino.opset13.parameter([1, 3, 64, 96])
    openvino.save_model(openvino.Model([openvino.opset13.relu(pixels)], [pixels]), folder / MODEL)
    write_folder_metadata(folder, Metadata(("bee",), stride=32, frame_hw=(64, 96)))
    result = info({"weights": folder})
    assert (result.path, result.kind, result.names, result.sha256) == (folder, "openvino", ("bee",), "")
    assert result.num_bytes == sum(file.stat().st_size for file in folder.iterdir())
    assert result.facts["frame_hw"] == (64, 96)


@covers("info", "rows")
def test_rows_of_the_table_are_listed(tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, rows = (shown(capsys, tiny_weights, *words).out.splitlines() for words in ((), ("--rows",)))
    assert rows[: len(plain)] == plain and len(rows) == len(plain) + 7
    assert rows[-1].split() == [
        "6",
        "from",
        "3,4,5",
        "Detect",
        "x1",
        f"{summary_of(tiny_weights).rows[-1].parameters:,}",
    ]


def summary_of(path: Path) -> Any:
    return summarise(load_detector(path))


def test_json_holds_everything(tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = shown(capsys, tiny_weights, "--json")
    content = json.loads(outcome.out)
    assert set(content) == {*InfoResult.__dataclass_fields__, "exit_code"}
    assert content["settings"]["lrf"] == 0.01 and content["summary"]["parameters"] > 1000


@pytest.mark.parametrize(
    ("words", "code", "says", "hint"),
    [
        (("none.safetensors",), 3, "checkpoint `none.safetensors` does not exist", None),
        (("none.pt",), 3, "weights `none.pt` do not exist", "nothing is downloaded"),
        (("none.onnx",), 3, "`none.onnx` does not exist", None),
        (("text.safetensors",), 3, "is damaged or not a Onelook checkpoint", "use another"),
        (("{weights}", "--img", "65"), 64, "imgsz", None),
    ],
)
def test_what_cannot_be_looked_into_is_named(
    words: tuple[str, ...], code: int, says: str, hint: str | None, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.file("text.safetensors", "hello, this is no checkpoint")
    outcome = shown(capsys, *(word.format(weights=home.weights) for word in words))
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err and (hint is None or f"hint: {hint}" in outcome.err or hint in outcome.err)


def test_hostile_names_stay_on_their_line(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from onelook.runs.checkpoint import save_checkpoint

    checkpoint = load_checkpoint(tiny_weights)
    document = {**checkpoint.document, "names": ["a\nb\x1b[31m", "disc"]}
    del document["sha256"]
    save_checkpoint(tmp_path / "odd.safetensors", checkpoint.tensors, document)
    (line,) = shown(capsys, tmp_path / "odd.safetensors").err.splitlines()
    assert line.endswith(r"its class name `'a\nb\x1b[31m'` holds control characters")


def test_info_raises_our_errors(tmp_path: Path) -> None:
    with pytest.raises(OnelookError):
        info({"weights": tmp_path})
