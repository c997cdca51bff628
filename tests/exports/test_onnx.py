"""ONNX files: any size and number of images, fixed ones, 16 and 8 bits, and what is in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from colours import colour_detector, images, plan_of

from onelook.errors import DeviceError
from onelook.exports.onnx import build_onnx, export_onnx, open_onnx
from onelook.exports.plan import ExportPlan
from onelook.exports.running import ExportedModel
from onelook.geometry.nms import non_max_suppression
from onelook.inference.backend import Thresholds, TorchBackend, predict_all
from onelook.models.detector import create_model

CPU = torch.device("cpu")


def exported(plan: ExportPlan, path: Path) -> ExportedModel:
    export_onnx(plan, path)
    return open_onnx(path, CPU)


@pytest.fixture(scope="module")
def tiny_plan(tiny_model: Path) -> ExportPlan:
    """Three maps, any size, any number of images."""
    return plan_of(create_model(tiny_model, names=("square", "disc")))


@pytest.fixture(scope="module")
def tiny_file(tiny_plan: ExportPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    export_onnx(tiny_plan, path)
    return path


@pytest.fixture(scope="module")
def fixed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "fixed.onnx"
    export_onnx(plan_of(frame_hw=(64, 96), batch=2), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 96, 64), (2, 32, 160)])
def test_a_dynamic_file_takes_any_size_and_number(
    tiny_file: Path, tiny_plan: ExportPlan, shape: tuple[int, int, int]
) -> None:
    given = images(*shape)
    backend = open_onnx(tiny_file, CPU)
    torch.testing.assert_close(
        backend.predict(given), TorchBackend(tiny_plan.model).predict(given), atol=1e-3, rtol=1e-4
    )
    assert (backend.names, backend.num_classes, backend.stride) == (("square", "disc"), 2, 32)
    assert (backend.frame_hw, backend.max_batch, backend.thresholds) == (None, None, None)
    assert backend.predict(given[:0]).shape == (0, 0, 7)


def test_file_says_nothing_about_this_machine(fixed_file: Path) -> None:
    data = fixed_file.read_bytes()
    for word in (b"/", b".py", b"stack_trace"):
        names = [part for part in data.split(b"\n") if word in part and b"onelook" in part.lower()]
        assert not names, word
    model = onnx.load(fixed_file)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert {entry.key for entry in model.metadata_props} == {"onelook", "names", "stride", "frame_hw", "batch"}


def test_same_model_same_file(fixed_file: Path) -> None:
    assert build_onnx(plan_of(frame_hw=(64, 96), batch=2)).SerializeToString() == fixed_file.read_bytes()


@pytest.mark.slow  # as has `simplify`
def test_a_graph_as_it_was_traced_has_more_nodes_and_the_same_results(fixed_file: Path, tmp_path: Path) -> None:
    plan = replace(plan_of(frame_hw=(64, 96), batch=2), simplify=False)
    given = images(2, 64, 96)
    expected = TorchBackend(plan.model).predict(given)
    found = exported(plan, tmp_path / "x.onnx").predict(given)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    nodes = [len(onnx.load(path).graph.node) for path in (tmp_path / "x.onnx", fixed_file)]
    assert nodes[0] > nodes[1]


def test_a_fixed_file_is_given_its_number_of_images_whatever_is_asked(fixed_file: Path) -> None:
    backend = open_onnx(fixed_file, CPU)
    given = images(5, 64, 96)
    expected = TorchBackend(colour_detector()).predict(given)
    torch.testing.assert_close(predict_all(backend, given), expected, atol=1e-4, rtol=1e-4)
    assert (backend.frame_hw, backend.max_batch) == ((64, 96), 2)
    inputs = onnx.load(fixed_file).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in inputs] == [2, 3, 64, 96]


def test_half_precision_is_in_the_network_only(tmp_path: Path) -> None:
    backend = exported(plan_of(frame_hw=(64, 96), batch=1, precision="fp16"), tmp_path / "x.onnx")
    model = onnx.load(tmp_path / "x.onnx")
    kinds = {
        tensor.name.rsplit(".", 1)[-1]: tensor.data_type for tensor in model.graph.initializer if "conv" in tensor.name
    }
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT16}
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    given = images(1, 64, 96)
    expected = TorchBackend(colour_detector()).predict(given)
    torch.testing.assert_close(backend.predict(given), expected, atol=0.2, rtol=0.01)


def test_8_bits_are_in_all_convolutions_but_the_last(tmp_path: Path) -> None:
    def calibration_images() -> Any:
        return (images(1, 64, 96).numpy() for _ in range(2))

    plan = replace(plan_of(frame_hw=(64, 96), batch=1, precision="int8"), calibration=calibration_images)
    backend = exported(plan, tmp_path / "x.onnx")
    model = onnx.load(tmp_path / "x.onnx")
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    fed_by = {name: node.op_type for node in model.graph.node for name in node.output}
    assert [fed_by.get(node.input[0]) for node in convolutions] == ["DequantizeLinear", "Mul"]
    given = images(1, 64, 96)
    expected, found = TorchBackend(colour_detector()).predict(given), backend.predict(given)
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0.02)
    assert not torch.equal(found, expected)


@pytest.mark.slow  # as `test_thresholds_inside_an_export_bind_val_and_detect` does
def test_nms_inside_gives_the_detections_of_the_model(tmp_path: Path) -> None:
    backend = exported(plan_of(thresholds=Thresholds(0.25, 0.45, 40)), tmp_path / "x.onnx")
    given = images(3, 64, 96)
    keywords = {"conf_thres": 0.25, "iou_thres": 0.45, "max_det": 40, "multi_label": False}
    found = non_max_suppression(backend.predict(given), **keywords)  # type: ignore[arg-type]
    expected = non_max_suppression(TorchBackend(colour_detector()).predict(given), **keywords)  # type: ignore[arg-type]
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other) > 5
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)
    assert backend.thresholds == Thresholds(0.25, 0.45, 40)


@pytest.mark.parametrize(
    ("name", "opset"),
    [
        (None, 12),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [("onelookx-nano", 17), (None, 17), ("onelook5n", 12), ("onelook5n", 17), ("onelookx-nano", 12)]
        ),
    ],
)
def test_older_operators_compute_the_same(name: str | None, opset: int, tiny_plan: ExportPlan, tmp_path: Path) -> None:
    model = tiny_plan.model if name is None else create_model(name, num_classes=2)
    plan = replace(plan_of(model, frame_hw=(64, 96), batch=2), opset=opset)
    found = exported(plan, tmp_path / "x.onnx").predict(images(2, 64, 96))
    torch.testing.assert_close(found, TorchBackend(model).predict(images(2, 64, 96)), atol=1e-3, rtol=1e-4)
    versions = {item.version for item in onnx.load(tmp_path / "x.onnx").opset_import if not item.domain}
    assert (versions, str(Path.cwd()).encode() in (tmp_path / "x.onnx").read_bytes()) == ({opset}, False)


@pytest.mark.slow  # the setting `opset` has a test of its own
@pytest.mark.parametrize("opset", [18, 23])
def test_other_versions_of_the_operators_can_be_had(opset: int, tmp_path: Path) -> None:
    plan = replace(plan_of(frame_hw=(64, 96), batch=1), opset=opset)
    given = images(1, 64, 96)
    expected = TorchBackend(colour_detector()).predict(given)
    torch.testing.assert_close(exported(plan, tmp_path / "x.onnx").predict(given), expected, atol=1e-4, rtol=1e-4)
    assert {item.version for item in onnx.load(tmp_path / "x.onnx").opset_import if not item.domain} == {opset}


def test_gpus_need_another_build(fixed_file: Path) -> None:
    with pytest.raises(DeviceError, match="cannot use the device `cuda:0`\nhint: use `--device cpu`"):
        open_onnx(fixed_file, torch.device("cuda", 0))
