"""OpenVINO: its own files (model.xml, model.bin) made from the ONNX graph; 8 bits by NNCF."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onelook.exports.folder import file_of, read_folder_metadata, require_cpu, write_folder_metadata
from onelook.exports.int8 import quantised, without_reports
from onelook.exports.onnx import build_onnx, damaged
from onelook.exports.plan import ExportPlan, Images
from onelook.exports.running import ExportedModel
from onelook.exports.signal_stack import restored_signal_stack

MODEL, WEIGHTS = "model.xml", "model.bin"


def export_openvino(plan: ExportPlan, folder: Path) -> None:
    """Write `plan` into `folder`, which exists."""
    openvino = import_openvino()
    graph = build_onnx(replace(plan, metadata=replace(plan.metadata, precision="fp32")))
    model = openvino.Core().read_model(io.BytesIO(graph.SerializeToString()))
    if plan.metadata.precision == "int8":
        exact = [*_first_convolutions(model), *_decoding_operators(model, plan)]
        model = quantised(model, plan, exact=exact, silu=["Sigmoid", "Multiply"])
    openvino.save_model(model, folder / MODEL, compress_to_fp16=plan.metadata.precision == "fp16")
    write_folder_metadata(folder, plan.metadata)


def open_openvino(folder: Path, device: torch.device) -> ExportedModel:
    """The export in `folder`, ready to run on the CPU; errors as of `Format.open`."""
    metadata = read_folder_metadata(folder)
    require_cpu(device, "OpenVINO")
    openvino = import_openvino()
    # Every run time here computes with as many threads as PyTorch would; 32 bits unless the file has fewer.
    options = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    try:
        model = openvino.Core().read_model(file_of(folder, MODEL), file_of(folder, WEIGHTS))
        with restored_signal_stack():
            compiled = openvino.Core().compile_model(model, "CPU", options)
    except RuntimeError as problem:
        raise damaged(folder, problem) from problem

    own = threading.local()  # a request holds its images and its answer: threads that shared one would swap theirs

    def run(images: Images) -> Images:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        return np.array(own.request.infer([images])[0])

    return ExportedModel(metadata, run, label=folder.name)


def import_openvino() -> Any:
    """The package `openvino`, kept from reporting its use."""
    with without_reports():
        import openvino

        return openvino


def _first_convolutions(model: Any) -> list[str]:
    """Names of the first three convolutions if the second is depth-wise, as in the bodies of `*-nano`; else none.

    There a sum of a few large weights of opposite signs tells edges: 8-bit weights alone shift it, and all that
    follows sees it. The squared error of the scores of a YOLOX nano for blood cells is a seventh without them.
    """
    convolutions = [node for node in model.get_ordered_ops() if "Convolution" in node.get_type_name()]
    if convolutions[1].get_type_name() != "GroupConvolution":
        return []
    return [node.get_friendly_name() for node in convolutions[:3]]


def _decoding_operators(model: Any, plan: ExportPlan) -> list[str]:
    """Names of the head's last convolutions and of all that follows them."""
    row = len(plan.model.model) - 1
    prefixes = [f"model.{row}.{name}." for name in plan.model.head.last_convolutions]
    waiting = [
        target.get_node()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant" and any(prefix in node.get_friendly_name() for prefix in prefixes)
        for target in node.output(0).get_target_inputs()
    ]
    found: dict[str, None] = {}
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in found:
            found[node.get_friendly_name()] = None
            waiting += [t.get_node() for output in node.outputs() for t in output.get_target_inputs()]
    return list(found)
