"""ONNX: written by torch's exporter from the traced graph, run by ONNX Runtime."""

from __future__ import annotations

import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from onelook.errors import CheckpointError, DeviceError
from onelook.exports.int8 import quantised
from onelook.exports.metadata import read_metadata
from onelook.exports.onnx_nms import with_nms
from onelook.exports.plan import ExportPlan, Images, Predictions
from onelook.exports.quiet import quietly
from onelook.exports.running import ExportedModel
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import read_bounded
from onelook.training.weights import METADATA_KEY

INPUT, OUTPUT = "images", "predictions"
DYNAMO_OPSET = 18
"""The first that torch's newer exporter writes."""
MAX_BYTES = 2**31
"""Largest file; protobuf allows no more."""
OTHER_FILES = "session.model_external_initializers_file_folder_path"
"""Where ONNX Runtime looks for files that a model names; a hostile one could name any."""


def export_onnx(plan: ExportPlan, path: Path) -> None:
    """Write `plan` to the file `path`."""
    write_bytes_atomic(path, build_onnx(plan).SerializeToString())


def build_onnx(plan: ExportPlan) -> Any:
    """The `onnx.ModelProto` of `plan`, checked, with its metadata."""
    import onnx

    model = traced(plan)
    if plan.metadata.precision == "int8":
        exact = _decoding_nodes(model, plan)
        model = quantised(model, plan, exact=exact, silu=["Sigmoid", "Mul"], source=INPUT)
    if plan.metadata.thresholds is not None:
        model = with_nms(model, plan.metadata.thresholds)
    content = plan.metadata.as_dict()
    for_others = {key: json.dumps(content[key]) for key in ("names", "stride", "frame_hw", "batch")}
    onnx.helper.set_model_props(model, {METADATA_KEY: plan.metadata.as_json(), **for_others})
    model.producer_name = "onelook"
    onnx.checker.check_model(model, full_check=True)
    return model


def traced(plan: ExportPlan) -> Any:
    """The network with decoded boxes as `onnx.ModelProto`, in standard operators."""
    import onnx

    network, example = Predictions(plan.model, plan.metadata).eval(), (plan.example(),)
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT], "opset_version": plan.opset}
    with quietly():
        if plan.opset < DYNAMO_OPSET:  # torch's older exporter, of one size
            written: Any = io.BytesIO()
            torch.onnx.export(network, example, written, dynamo=False, do_constant_folding=plan.simplify, **names)
            model = onnx.load_model_from_string(written.getvalue())
        else:
            program: Any = torch.onnx.export(
                network,
                example,
                dynamo=True,
                dynamic_shapes=_dynamic_shapes(plan),
                external_data=False,
                optimize=plan.simplify,
                verbose=False,
                **names,
            )
            model = program.model_proto
    _strip_source_info(model)
    return model


def open_onnx(path: Path, device: torch.device) -> ExportedModel:
    """The file `path`, ready to run on `device`; errors as of `Format.open`."""
    import onnxruntime

    providers = (
        ["CPUExecutionProvider"] if device.type == "cpu" else [_gpu(onnxruntime, device), "CPUExecutionProvider"]
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    data = read_bounded(path, MAX_BYTES)
    with TemporaryDirectory() as empty:
        options.add_session_config_entry(OTHER_FILES, empty)
        try:
            session = onnxruntime.InferenceSession(data, options, providers=providers)
        except _errors_of(onnxruntime) as problem:
            raise damaged(path, problem) from problem
    metadata = read_metadata(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), path.name)

    def run(images: Images) -> Images:
        try:
            return np.asarray(session.run(None, {INPUT: images})[0])
        except _errors_of(onnxruntime) as problem:
            raise RuntimeError(str(problem)) from problem

    return ExportedModel(metadata, run, label=path.name)


def damaged(path: Path, problem: Exception) -> CheckpointError:
    """The error for a file that its run time refuses."""
    return CheckpointError(
        f"exported model `{path}` cannot be opened: {' '.join(str(problem).split())[:300]}",
        hint="export the checkpoint again",
    )


def _errors_of(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; its errors have no class in common."""
    kinds = vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
    own = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


def _gpu(onnxruntime: Any, device: torch.device) -> tuple[str, dict[str, int]]:
    if device.type != "cuda" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise DeviceError(
            f"this build of ONNX Runtime cannot use the device `{device}`",
            hint="use `--device cpu`, or install `onnxruntime-gpu` instead of `onnxruntime`",
        )
    return "CUDAExecutionProvider", {"device_id": device.index or 0}


def _dynamic_shapes(plan: ExportPlan) -> dict[str, dict[int, Any]] | None:
    axes: dict[int, Any] = {}
    if plan.metadata.batch is None:
        axes[0] = torch.export.Dim("batch")
    if plan.metadata.frame_hw is None:
        axes[2], axes[3] = (plan.metadata.stride * torch.export.Dim(name) for name in ("rows", "columns"))
    return {INPUT: axes} if axes else None


def _decoding_nodes(model: Any, plan: ExportPlan) -> list[str]:
    """Names of the head's last convolutions and of all that follows them."""
    row = len(plan.model.model) - 1
    prefixes = [f"model.{row}.{name}." for name in plan.model.head.last_convolutions]
    found: list[str] = []
    results: set[str] = set()
    for node in model.graph.node:  # in the order of computation
        is_last = node.op_type == "Conv" and any(prefix in name for prefix in prefixes for name in node.input)
        if is_last or not results.isdisjoint(node.input):
            found.append(node.name)
            results.update(node.output)
    return found


def _strip_source_info(model: Any) -> None:
    """Drop the exporter's notes about the code: they name files of this machine, and are half of the file."""
    graph = model.graph
    for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, graph):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
