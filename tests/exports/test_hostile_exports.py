"""Exported files that somebody damaged, forged or baited: clear errors, and nothing outside the file is read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from colours import colour_detector, images, plan_of
from onnx import helper, numpy_helper

from onelook.errors import CheckpointError, ModelError, OnelookError
from onelook.exports.folder import write_folder_metadata
from onelook.exports.metadata import Metadata
from onelook.exports.ncnn import open_ncnn
from onelook.exports.onnx import METADATA_KEY, open_onnx
from onelook.exports.openvino import export_openvino, open_openvino
from onelook.exports.plan import Images
from onelook.exports.running import ExportedModel
from onelook.inference.backend import Thresholds
from onelook.models.decoding import Decoding

CPU = torch.device("cpu")
HONEST = Metadata(names=("red", "green"), stride=8, frame_hw=(64, 96), batch=1)


def onnx_model(metadata: Metadata | None = HONEST, *, rows: tuple[int, ...] = (1, 5, 7)) -> Any:
    """A graph that takes one image of 64 x 96 and gives a table of zeros."""
    source = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 96])
    target = helper.make_tensor_value_info("predictions", onnx.TensorProto.FLOAT, list(rows))
    table = numpy_helper.from_array(np.zeros(rows, np.float32), "table")
    nodes = [
        helper.make_node("ReduceSum", ["images"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["table", "nothing"], ["predictions"]),
    ]
    zero = numpy_helper.from_array(np.zeros((), np.float32), "zero")
    graph = helper.make_graph(nodes, "g", [source], [target], initializer=[table, zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if metadata is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, metadata.as_json()
    return model


def opened(model: Any, folder: Path) -> ExportedModel:
    path = folder / "x.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return open_onnx(path, CPU)


def test_an_honest_file_runs(tmp_path: Path) -> None:
    assert opened(onnx_model(), tmp_path).predict(images(1, 64, 96)).shape == (1, 5, 7)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(part: float, tmp_path: Path) -> None:
    data = onnx_model().SerializeToString()
    with pytest.raises(CheckpointError, match=r"x\.onnx` (cannot be opened|says nothing about its classes)"):
        opened(data[: int(part * len(data))], tmp_path)


def test_a_file_without_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="says nothing about its classes and sizes\nhint: only files that"):
        opened(onnx_model(None), tmp_path)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (replace(HONEST, names=("red",)), r"gives \(1, 5, 7\), expected 1 x boxes x 6"),
        (replace(HONEST, batch=3), r"fails on images \(3, 3, 64, 96\)"),
        (replace(HONEST, frame_hw=(64, 64)), r"fails on images \(1, 3, 64, 64\)"),
        (replace(HONEST, thresholds=Thresholds(0.25, 0.45, 10)), r"gives \(1, 5, 7\), expected 1 x boxes x 6"),
        (replace(HONEST, decoding=Decoding("anchors", (8.0,), (((4.0, 4.0),),))), "fails on images"),
    ],
)
def test_metadata_of_another_model_is_found_out(metadata: Metadata, says: str, tmp_path: Path) -> None:
    backend = opened(onnx_model(metadata), tmp_path)
    height, width = metadata.frame_hw or (64, 96)
    with pytest.raises(ModelError, match=f"exported model `x.onnx` .*{says}"):
        backend.predict(images(1, height, width))


@pytest.mark.parametrize("class_id", [-1.0, 2.0, 1e30, math.nan])
def test_detections_of_classes_that_do_not_exist_are_refused(class_id: float) -> None:
    table = np.zeros((1, 3, 6), np.float32)
    table[0, 1, 5] = class_id
    metadata = replace(HONEST, thresholds=Thresholds(0.25, 0.45, 3))
    with pytest.raises(ModelError, match="exported model `x` fails"):
        ExportedModel(metadata, lambda _: table, label="x").predict(images(1, 64, 96))


@pytest.mark.parametrize("shapes", [[], [(1, 7, 8, 12)] * 2, [(1, 6, 8, 12)], [(1, 7)], [(2, 7, 8, 12)]])
def test_maps_that_do_not_suit_the_anchors_are_refused(shapes: list[tuple[int, ...]]) -> None:
    def run(_: Images) -> list[Images]:
        return [np.zeros(shape, np.float32) for shape in shapes]

    metadata = replace(HONEST, decoding=Decoding("anchors", (8.0,), (((8.0, 8.0),),)))
    with pytest.raises(ModelError, match="exported model `x` fails"):
        ExportedModel(metadata, run, label="x").predict(images(1, 64, 96))


@pytest.mark.parametrize("where", ["inside.bin", "../outside.bin", "{folder}/absolute.bin"])
def test_weights_are_not_fetched_from_other_files(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX can keep tensors in a file beside it, which a hostile model would choose."""
    folder = tmp_path / "model"
    folder.mkdir()
    location = where.format(folder=tmp_path)
    (folder / location).write_bytes(np.zeros((1, 5, 7), np.float32).tobytes())
    model = onnx_model()
    (table,) = (tensor for tensor in model.graph.initializer if tensor.name == "table")
    table.ClearField("raw_data")
    table.data_location = onnx.TensorProto.EXTERNAL
    entry = table.external_data.add()
    entry.key, entry.value = "location", location
    monkeypatch.chdir(folder)
    with pytest.raises(CheckpointError, match="cannot be opened"):
        opened(model, folder)


def entities(xml: str) -> str:
    """`xml`, its name an entity of a billion laughs."""
    grown = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    head = f'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY l0 "laugh">{grown}]>'
    return head + xml.split("?>", 1)[1].replace("<net name=", '<net bait="&l9;" name=', 1)


def outside(xml: str) -> str:
    """`xml`, its name the content of a file of the system."""
    head = '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY file SYSTEM "file:///etc/hostname">]>'
    return head + xml.split("?>", 1)[1].replace("<net name=", '<net bait="&file;" name=', 1)


def cut(xml: str) -> str:
    """The first half."""
    return xml[: len(xml) // 2]


def beyond(xml: str) -> str:
    """`xml`, its constants said to lie far behind the end of the weights."""
    return xml.replace(' offset="', ' offset="9999999')


@pytest.fixture(scope="module")
def openvino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openvino")
    export_openvino(plan_of(colour_detector(), frame_hw=(64, 96), batch=1), folder)
    return folder


@pytest.mark.parametrize(("change", "is_refused"), [(entities, False), (outside, False), (cut, True), (beyond, True)])
def test_baits_in_openvino_files_are_not_taken(
    change: Callable[[str], str], is_refused: bool, openvino_folder: Path, tmp_path: Path
) -> None:
    """OpenVINO's reader expands no entities: text with them is text."""
    for name in ("model.bin", "metadata.json"):
        (tmp_path / name).write_bytes((openvino_folder / name).read_bytes())
    (tmp_path / "model.xml").write_text(change((openvino_folder / "model.xml").read_text()))
    if is_refused:
        with pytest.raises(CheckpointError, match="cannot be opened"):
            open_openvino(tmp_path, CPU)
    else:
        expected = open_openvino(openvino_folder, CPU).predict(images(1, 64, 96))
        assert torch.equal(open_openvino(tmp_path, CPU).predict(images(1, 64, 96)), expected)


def test_forged_metadata_beside_an_openvino_file_is_found_out(openvino_folder: Path, tmp_path: Path) -> None:
    for name in ("model.bin", "model.xml"):
        (tmp_path / name).write_bytes((openvino_folder / name).read_bytes())
    metadata = json.loads((openvino_folder / "metadata.json").read_text())
    (tmp_path / "metadata.json").write_text(json.dumps(metadata | {"names": ["red"]}))
    with pytest.raises(OnelookError, match=r"gives \(1, 96, 7\), expected 1 x boxes x 6"):
        open_openvino(tmp_path, CPU).predict(images(1, 64, 96))


@pytest.mark.parametrize("text", ["2 2\nInput a 0 1 a\nInput b 0 1 b\n", "1 1\nMemoryData a 0 1 a 0=1\n"])
def test_a_network_of_ncnn_without_exactly_one_input_is_refused(text: str, tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    write_folder_metadata(tmp_path, HONEST)
    (tmp_path / "model.ncnn.param").write_text(f"7767517\n{text}")
    (tmp_path / "model.ncnn.bin").write_bytes(bytes(4))
    with pytest.raises(
        CheckpointError, match=r"`model\.ncnn\.param` has [02] inputs, and one is expected\nhint: export"
    ):
        open_ncnn(tmp_path, CPU)
