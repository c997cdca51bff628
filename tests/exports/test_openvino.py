"""OpenVINO folders: 8 bits, 16 bits, NMS, and no word to anybody about being used."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from colours import colour_detector, images, plan_of

from onelook.exports.openvino import export_openvino, import_openvino, open_openvino
from onelook.exports.plan import ExportPlan
from onelook.exports.running import ExportedModel
from onelook.geometry.nms import non_max_suppression
from onelook.inference.backend import Thresholds, TorchBackend
from onelook.models.detector import create_model

CPU = torch.device("cpu")


def exported(plan: ExportPlan, folder: Path) -> ExportedModel:
    folder.mkdir()
    export_openvino(plan, folder)
    return open_openvino(folder, CPU)


def test_any_size_and_number(tmp_path: Path) -> None:
    given = images(3, 32, 96)
    expected = TorchBackend(colour_detector()).predict(given)
    found = exported(plan_of(), tmp_path / "plain").predict(given)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.slow  # the graph is that of ONNX
def test_nms_inside(tmp_path: Path) -> None:
    inside = exported(plan_of(thresholds=Thresholds(0.25, 0.45, 40)), tmp_path / "inside")
    keywords: dict[str, Any] = {"conf_thres": 0.25, "iou_thres": 0.45, "max_det": 40, "multi_label": False}
    given = images(3, 32, 96)
    expected = TorchBackend(colour_detector()).predict(given)
    for one, other in zip(
        non_max_suppression(inside.predict(given), **keywords),
        non_max_suppression(expected, **keywords),
        strict=True,
    ):
        assert len(one) == len(other) > 2
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.slow  # ONNX and the options of export show 16 bits
def test_16_bits_halve_the_weights(tmp_path: Path) -> None:
    plan = plan_of(frame_hw=(64, 96), batch=1, precision="fp16")
    half = exported(plan, tmp_path / "half")
    weights = sum(tensor.nbytes for tensor in plan.model.state_dict().values())
    assert (tmp_path / "half" / "model.bin").stat().st_size < 0.7 * weights
    given = images(1, 64, 96)
    expected = TorchBackend(colour_detector()).predict(given)
    torch.testing.assert_close(half.predict(given), expected, atol=0.2, rtol=0.02)


@pytest.mark.slow
def test_8_bits_leave_the_decoding_alone(tmp_path: Path) -> None:
    pytest.importorskip("nncf")

    def calibration_images() -> Any:
        return (images(1, 64, 96).numpy() for _ in range(4))

    plan = replace(plan_of(frame_hw=(64, 96), batch=1, precision="int8"), calibration=calibration_images)
    export = exported(plan, tmp_path / "int8")
    given = images(1, 64, 96)
    expected, found = TorchBackend(colour_detector()).predict(given), export.predict(given)
    torch.testing.assert_close(found[..., :4], expected[..., :4], atol=0.3, rtol=0.03)
    torch.testing.assert_close(found[..., 4:], expected[..., 4:], atol=0.1, rtol=0.1)
    assert not torch.equal(found, expected)
    assert "FakeQuantize" in (tmp_path / "int8" / "model.xml").read_text()


@pytest.mark.slow  # NNCF
@pytest.mark.parametrize(
    ("block", "head", "in_8_bits"),
    [
        ("DSConv", ["YoloX", ["nc", 8]], [False] * 3 + [True] * 2),
        ("Conv", ["YoloX", ["nc", 8]], [True] * 3),
        ("Conv", ["Look", ["nc", 8, 8]], [True] * 3),
    ],
)
def test_8_bits_spare_the_first_convolutions_of_a_separable_body(
    tmp_path: Path, block: str, head: list[Any], in_8_bits: list[bool]
) -> None:
    pytest.importorskip("nncf")
    table = {
        "nc": 2, "depth_multiple": 1.0, "width_multiple": 1.0,
        "backbone": [[-1, 1, "Conv", [8, 6, 2, 2]], *[[-1, 1, block, [16, 3, 2]]] * 2],
        "head": [[[2], 1, *head]],
    }  # fmt: skip
    plan = plan_of(create_model(table, names=("red", "green")), frame_hw=(32, 32), batch=1, precision="int8")
    export_openvino(replace(plan, calibration=lambda: iter([images(1, 32, 32).numpy()])), tmp_path)
    graph = import_openvino().Core().read_model(tmp_path / "model.xml").get_ordered_ops()
    convolutions = [node for node in graph if "Convolution" in node.get_type_name()]
    sources = [node.input_value(0).get_node().get_type_name() for node in convolutions]
    assert [source == "FakeQuantize" for source in sources[: len(in_8_bits)]] == in_8_bits


def test_nothing_is_reported_to_the_makers(tmp_path: Path) -> None:
    """OpenVINO, imported as it is, writes an identity into the home folder and sends word of it."""
    program = (
        "import sys\n"
        "calls = []\n"
        "sys.addaudithook(lambda event, args: calls.append(event) if event in ('socket.connect', 'socket.getaddrinfo')"
        " else None)\n"
        "from onelook.exports.openvino import import_openvino\n"
        "import_openvino().Core()\n"
        "import threading\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert not calls and 'openvino_telemetry' not in sys.modules, calls\n"
    )
    environment = {"HOME": str(tmp_path), "PATH": "", "ONELOOK_CACHE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack(2) is read as Linux lays it out")
def test_the_signal_stack_stays_ours(tmp_path: Path) -> None:
    """That of OpenVINO is freed with its model, and the next signal would end the process."""

    def signal_stack() -> bytes:
        found = ctypes.create_string_buffer(24)
        assert ctypes.CDLL(None).sigaltstack(None, found) == 0
        return found.raw

    before = signal_stack()
    model = exported(plan_of(frame_hw=(64, 96), batch=1), tmp_path / "model")
    assert signal_stack() == before and model.names
