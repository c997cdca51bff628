"""Settings of exports and benchmarks, seen in what they write."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from colours import NAMES, Bench, checkpoint_of, colour_detector, write_data
from onnx.numpy_helper import to_array
from option_runs import covers

import onelook
from onelook.errors import DataError, DeviceError, ModelError, OnelookError, SettingsError
from onelook.exports.formats import EXPORTERS
from onelook.exports.onnx import open_onnx
from onelook.exports.torchscript import open_torchscript
from onelook.recipes.export import ExportResult, export


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A checkpoint and a dataset of red and green cells, in a working folder of the test's own."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    return Bench(checkpoint_of(colour_detector(), work / "best.safetensors"), write_data(tmp_path / "data"), work)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, ExportResult]:
    """A model in two formats, in a folder of its own below a working folder."""
    work = tmp_path_factory.mktemp("both")
    bench = Bench(checkpoint_of(colour_detector(), work / "best.safetensors"), write_data(work / "data"), work)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        made = export({**bench.given, "format": "torchscript,ONNX torchscript", "output": "new/folder"})
    return bench, made


def report_of(result: ExportResult) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(result.exports[0].report.read_text(encoding="utf-8"))
    return content


@covers("export", "weights", "format", "output", "exist_ok")
def test_an_export_lies_beside_its_weights_or_where_it_is_told_to(
    bench: Bench, both: tuple[Bench, ExportResult]
) -> None:
    given = {**bench.given, "format": "torchscript"}
    result = export(given)
    (made,) = result.exports
    assert (made.format, made.path, result.names) == ("torchscript", bench.work / "best.torchscript", NAMES)
    assert made.num_bytes == made.path.stat().st_size
    assert sorted(item.name for item in bench.work.iterdir()) == [
        "best.safetensors", "best.torchscript", "best.torchscript.report.json",
    ]  # fmt: skip
    before = made.path.stat().st_mtime_ns
    with pytest.raises(SettingsError, match=r"best\.torchscript` already exists\nhint: add `--exist-ok`"):
        export(given)
    assert made.path.stat().st_mtime_ns == before
    export({**given, "exist_ok": True})
    assert made.path.stat().st_mtime_ns > before
    assert [item.path for item in both[1].exports] == [
        Path("new/folder/best.torchscript"), Path("new/folder/best.onnx"),
    ]  # fmt: skip


@covers("export", "imgsz", "batch_size", "dynamic")
def test_size_and_number_of_images_are_as_asked(bench: Bench) -> None:
    given = {**bench.given, "format": "torchscript"}
    fixed = export({**given, "imgsz": [64, 96], "batch_size": 2})
    backend = open_torchscript(fixed.exports[0].path, torch.device("cpu"))
    assert (backend.frame_hw, backend.max_batch) == ((64, 96), 2)
    assert [case["shape"] for case in report_of(fixed)["comparisons"]] == [[2, 3, 64, 96], [1, 3, 64, 96]]
    free = export({**given, "dynamic": True, "exist_ok": True})
    backend = open_torchscript(free.exports[0].path, torch.device("cpu"))
    assert (backend.frame_hw, backend.max_batch) == (None, None)
    assert [case["shape"] for case in report_of(free)["comparisons"]] == [
        [1, 3, 64, 64], [3, 3, 64, 32], [2, 3, 32, 64],
    ]  # fmt: skip
    with pytest.raises(SettingsError, match="`imgsz` is 60; the model needs multiples of 8\nhint: use 64"):
        export({**given, "imgsz": 60, "exist_ok": True})


@covers("export", "half", "int8", "calibration_images")
def test_precisions_and_their_images(bench: Bench) -> None:
    half = export({**bench.given, "format": "torchscript", "half": True})
    assert report_of(half)["metadata"]["precision"] == "fp16"
    given = {**bench.given, "data": str(bench.data), "int8": True, "exist_ok": True, "workers": 0}
    scales = []
    for count in (1, 6):
        int8 = export({**given, "calibration_images": count})
        report = report_of(int8)
        assert report["metadata"]["precision"] == "int8" and report["tolerance"] is None
        model = onnx.load(int8.exports[0].path)
        names = {node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"}
        scales.append([to_array(t).tolist() for t in model.graph.initializer if t.name in names])
    assert scales[0]
    assert scales[0] != scales[1], "other images, other ranges"
    with pytest.raises(SettingsError, match="exclude each other"):
        export({**given, "half": True})
    with pytest.raises(SettingsError, match="`int8` needs images to measure ranges on\nhint: add `--data`"):
        export({**bench.given, "int8": True})


@covers("export", "data", "workers")
def test_accuracy_before_and_after_is_compared(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def none(requested: int, *_: object, **__: object) -> int:
        asked.append(requested)
        return 0

    monkeypatch.setattr("onelook.inference.validation_pass.choose_workers", none)
    given = {**bench.given, "format": "torchscript"}
    result = export({**given, "data": str(bench.data), "workers": 3})
    compared = report_of(result)["map50_95"]
    assert compared["images"] == 4 and compared["model"] > 0.9 and abs(compared["loss_points"]) < 0.01
    assert set(asked) == {3}
    with pytest.raises(DataError, match=r"none\.yaml` does not exist"):
        export({**given, "data": "none.yaml", "exist_ok": True})
    bench.data.write_text(bench.data.read_text().replace("green]", "green, blue]"))
    with pytest.raises(ModelError, match=r"have 2 classes, .* has 3"):
        export({**given, "data": str(bench.data), "exist_ok": True})


@covers("export", "max_loss", "allow_mismatch")
def test_an_export_that_differs_is_not_kept_unless_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The network that is written here is not the one that was given."""
    from onelook.exports.plan import Predictions

    decode = Predictions.forward

    def shifted(self: Predictions, images: torch.Tensor) -> torch.Tensor:
        return decode(self, images) + 3

    monkeypatch.setattr(Predictions, "forward", shifted)
    given = {**bench.given, "format": "torchscript", "data": str(bench.data), "workers": 0}
    with pytest.raises(
        ModelError, match=r"torchscript export differs .* 4.5 px apart.* mAP50-95 falls by .* is not kept"
    ):
        export(given)
    assert not (bench.work / "best.torchscript").exists()
    report = json.loads((bench.work / "best.torchscript.report.json").read_text())
    assert report["passed"] is False and len(report["problems"]) == 2
    with caplog.at_level(logging.WARNING):
        kept = export({**given, "allow_mismatch": True, "max_loss": 100})
    assert kept.exports[0].path.is_file() and "differs from the model" in caplog.text
    assert len(report_of(kept)["problems"]) == 1, "the loss is accepted"


@covers("export", "layout")
def test_the_layout_is_the_one_asked_for_and_suits_the_head(bench: Bench) -> None:
    made = export({**bench.given, "layout": "channels-first", "data": str(bench.data), "workers": 0}).exports[0]
    assert made.checks.map_comparison is not None and made.checks.map_comparison.loss_points == 0
    (output,) = onnx.load(made.path).graph.output
    assert [dim.dim_value for dim in output.type.tensor_type.shape.dim] == [1, 4 + len(NAMES), 64]
    for layout, reason in (
        ("yolox", "is for heads of YOLOX; this model ends with Detect"),
        ("end-to-end", "needs NMS"),
    ):
        with pytest.raises(SettingsError, match=reason):
            export({**bench.given, "layout": layout, "output": "other"})
    with pytest.raises(SettingsError, match="`nms` has a layout of its own"):
        export({**bench.given, "layout": "channels-first", "nms": True})
    with pytest.raises(SettingsError, match="gives 300 detections, which images of any size may not have"):
        export({**bench.given, "layout": "end-to-end", "dynamic": True})


@covers("export", "nms", "conf_thres", "iou_thres", "max_det", "agnostic_nms")
def test_nms_is_in_the_graph_with_its_thresholds(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    asked = {"conf_thres": 0.5, "iou_thres": 0.3, "max_det": 7, "agnostic_nms": True}
    with caplog.at_level(logging.WARNING):
        result = export({**bench.given, "nms": True, **asked})
    assert "finds nothing in the synthetic images: add `--data`" in caplog.text
    thresholds = open_onnx(result.exports[0].path, torch.device("cpu")).thresholds
    assert thresholds is not None
    found = (thresholds.conf_thres, thresholds.iou_thres, thresholds.max_det, thresholds.agnostic_nms)
    assert found == (0.5, 0.3, 7, True)
    assert [o.name for o in onnx.load(result.exports[0].path).graph.output] == ["detections"]
    for name, value in asked.items():
        with pytest.raises(SettingsError, match=f"`{name}` has no effect without `nms`"):
            export({**bench.given, name: value})


@covers("export", "simplify", "opset")
def test_graph_is_simplified_and_of_the_version_asked_for(bench: Bench, both: tuple[Bench, ExportResult]) -> None:
    usual = onnx.load(both[0].work / both[1].exports[1].path)
    asked = {"simplify": False, "opset": 18}
    other = onnx.load(export({**bench.given, **asked}).exports[0].path)
    assert len(usual.graph.node) < len(other.graph.node)
    versions = [{item.version for item in model.opset_import if not item.domain} for model in (usual, other)]
    assert versions == [{20}, {18}]


@covers("export", "device", "workspace")
@covers("benchmark", "device")
def test_devices_and_formats_that_do_not_suit_are_refused(bench: Bench) -> None:
    for run in (onelook.export, onelook.benchmark):
        with pytest.raises(DeviceError, match="`device` is `77`"):
            run(**{**bench.given, "device": "77"})
    with pytest.raises(
        SettingsError, match="format `onnx` does not support `workspace`\nhint: formats that do: tensorrt"
    ):
        export({**bench.given, "workspace": 2.0})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"format": "onx"}, "`format` is `onx`\nhint: did you mean `onnx`"),
        ({"format": []}, "`format`"),
        ({"format": "executorch", "half": True}, "format `executorch` does not support `half`"),
        ({"format": "ncnn", "batch_size": 2}, "format `ncnn` does not support `batch_size`"),
        ({"calibration_images": 5}, "`calibration_images` has no effect without `int8`"),
        ({"max_loss": 1}, "`max_loss` has no effect without `data`"),
        ({"workers": 1}, "`workers` has no effect without `data`"),
        ({"opset": 11}, "`opset` is `11`"),
        ({"opset": 17, "nms": True}, "`opset` is 17; `nms` needs at least 18\nhint: use `--opset 18`"),
        ({"weights": "none.safetensors"}, "`none.safetensors` does not exist"),
        ({"weights": "best.onnx"}, "`best.onnx` is read, so it cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(bench: Bench, given: dict[str, Any], says: str) -> None:
    with pytest.raises(OnelookError, match=says):
        export({**bench.given, **given})
    assert [item.name for item in bench.work.iterdir()] == ["best.safetensors"]


def test_one_format_that_fails_does_not_stop_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a converter's\nown words")

    monkeypatch.setitem(EXPORTERS, "onnx", EXPORTERS["onnx"].__class__("", ".onnx", fail, open_onnx))
    with pytest.raises(ModelError, match="the onnx export cannot be made: RuntimeError: a converter's own words"):
        export({**bench.given, "format": ["onnx", "torchscript"]})
    names = {item.name for item in bench.work.iterdir()}
    assert names == {"best.safetensors", "best.torchscript", "best.torchscript.report.json"}


def test_detect_and_load_take_exports_and_answer_alike(
    both: tuple[Bench, ExportResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, made = both
    monkeypatch.chdir(bench.work)
    source = bench.data.parent / "images" / "val"
    common: dict[str, Any] = {"imgsz": 64, "device": "cpu"}
    images = onelook.load(bench.weights, **common)(source)
    for item in made.exports:
        predictor = onelook.load(item.path, **common)
        assert predictor.names == NAMES
        for one, other in zip(predictor(source), images, strict=True):  # type: ignore[arg-type]
            assert isinstance(one, onelook.Detections) and one.class_ids.tolist() == other.class_ids.tolist() != []
            np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
        found = onelook.detect(item.path, source, nosave=True, **common)
        assert [len(frame.detections) for frame in found.frames] == [len(one) for one in images]


def test_val_takes_exports_and_answers_alike(bench: Bench, tmp_path: Path) -> None:
    """Validation pads the images by half a stride, to 72 x 72: the cells of `moved` fit the grid then."""
    moved = write_data(tmp_path / "moved", shift=4)
    common: dict[str, Any] = {"imgsz": 64, "device": "cpu", "workers": 0, "noplots": True}
    expected = onelook.validate(bench.weights, moved, **common).metrics
    assert expected.map50_95 > 0.9
    (free,) = export({**bench.given, "format": "torchscript", "dynamic": True, "output": "free"}).exports
    metrics = onelook.validate(free.path, moved, **common).metrics
    assert metrics.map50_95 == pytest.approx(expected.map50_95, abs=1e-3)
    assert metrics.num_labels == expected.num_labels
    (fixed,) = export({**bench.given, "format": "torchscript"}).exports
    assert onelook.validate(fixed.path, bench.data, **common).metrics.map50_95 > 0.9, "frames of 64 x 64"
    with pytest.raises(SettingsError, match="exported for 64 x 64 only\nhint: use `--imgsz 64`"):
        onelook.validate(fixed.path, bench.data, **{**common, "imgsz": 96})


def test_thresholds_inside_an_export_bind_val_and_detect(bench: Bench) -> None:
    (made,) = export({**bench.given, "nms": True, "data": str(bench.data), "workers": 0}).exports
    source = bench.data.parent / "images" / "val"
    assert made.checks.map_comparison is not None and abs(made.checks.map_comparison.loss_points) < 0.01
    expected = onelook.detect(bench.weights, source, nosave=True, imgsz=64, device="cpu").frames
    found = onelook.detect(made.path, source, nosave=True, imgsz=64, device="cpu").frames
    assert [len(frame.detections) for frame in found] == [len(frame.detections) for frame in expected]
    fitting = {"conf_thres": 0.25, "iou_thres": 0.45, "imgsz": 64, "workers": 0, "noplots": True}
    assert onelook.validate(made.path, bench.data, **fitting).metrics.map50_95 > 0.9
    with pytest.raises(
        SettingsError, match=r"the export applies NMS itself: `conf_thres` is 0.001, the export has 0.25"
    ):
        onelook.validate(made.path, bench.data, imgsz=64, noplots=True)


@covers(
    "benchmark", "weights", "format", "data", "imgsz", "batch_size", "rounds", "workers", "project", "name", "exist_ok"
)
def test_benchmark_has_a_row_per_format(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    workers: list[int] = []
    from onelook.exports.running import ExportedModel

    predict = ExportedModel.predict
    monkeypatch.setattr(ExportedModel, "predict", lambda self, x: calls.append(tuple(x.shape)) or predict(self, x))
    monkeypatch.setattr("onelook.inference.validation_pass.choose_workers", lambda n, *_, **__: workers.append(n) or 0)
    given = {**bench.given, "format": "onnx,torchscript", "data": str(bench.data), "imgsz": [64, 96], "workers": 5}
    result = onelook.benchmark(**given, batch_size=2, rounds=4, project="b", name="n")
    assert result.run_folder == Path("b/n") and set(workers) == {5}
    assert [row.format for row in result.rows] == ["pytorch", "onnx", "torchscript"]
    for row in result.rows:
        assert row.megabytes and row.milliseconds and row.map50_95 and row.map50_95 > 0.9 and not row.problem
    # Per format: one comparison of 2 images and one of 1, the validation, and the timed calls after 3 to warm up.
    timed = [shape for shape in calls if shape == (2, 3, 64, 96)]
    assert len(timed) == 2 * (1 + 2 + 3 + 4), calls
    written = (result.run_folder / "benchmark.csv").read_text().splitlines()
    assert written[0].startswith("format,megabytes,milliseconds") and len(written) == 4
    again = onelook.benchmark(**{**given, "format": "torchscript"}, rounds=1, project="b", name="n", exist_ok=True)
    assert again.run_folder == Path("b/n")


@pytest.mark.slow  # they are those of `export`
@covers("benchmark", "half", "int8")
def test_benchmark_measures_other_precisions(bench: Bench) -> None:
    given = {**bench.given, "rounds": 1, "data": str(bench.data), "workers": 0}
    for precision, name in (("half", "torchscript"), ("int8", "onnx")):
        result = onelook.benchmark(**given, format=name, **{precision: True})
        report = json.loads((result.run_folder / f"best.{name}.report.json").read_text())
        assert report["metadata"]["precision"] == {"half": "fp16", "int8": "int8"}[precision]
