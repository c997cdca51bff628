"""TorchScript: the traced network with decoded boxes, for C++ and for PyTorch without our code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onelook.exports.metadata import read_metadata
from onelook.exports.onnx import MAX_BYTES, damaged
from onelook.exports.plan import ExportPlan, Images, Predictions
from onelook.exports.quiet import quietly
from onelook.exports.running import ExportedModel
from onelook.exports.trusted_programs import refuse_others, remember
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import read_bounded

METADATA = "metadata.json"


def export_torchscript(plan: ExportPlan, path: Path) -> None:
    """Write `plan` to the file `path`."""
    network = Predictions(plan.model, plan.metadata).eval()
    buffer = io.BytesIO()
    with quietly(), torch.no_grad():
        program = torch.jit.trace(network, plan.example(), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(program, buffer, _extra_files={METADATA: plan.metadata.as_json()})
    write_bytes_atomic(path, buffer.getvalue())
    remember(buffer.getvalue())


def open_torchscript(path: Path, device: torch.device) -> ExportedModel:
    """The file `path`, ready to run on `device`.

    Raises:
        CheckpointError: no export of this user on this machine wrote it, or it is damaged.
    """
    data = read_bounded(path, MAX_BYTES)
    refuse_others(data, path)
    extra = {METADATA: ""}
    with quietly():
        try:
            program = torch.jit.load(io.BytesIO(data), map_location=device, _extra_files=extra)  # type: ignore[no-untyped-call]
            make_tensors_on(device, program)
        except RuntimeError as problem:
            raise damaged(path, problem) from problem
    text = extra[METADATA]
    metadata = read_metadata(text.decode() if isinstance(text, bytes) else text or None, path.name)

    def run(images: Images) -> Images:
        with torch.no_grad():
            return np.asarray(program(torch.from_numpy(images).to(device)).cpu())

    return ExportedModel(metadata, run, label=path.name)


def make_tensors_on(device: torch.device, program: Any) -> None:
    """Let a traced program, not yet run, create its own tensors on `device`, such as the numbers of columns.

    Tracing records their device as a constant, and loading moves only weights.
    """
    for module in program.modules():
        if module._c._has_method("forward"):
            for node in module.graph.findAllNodes("prim::Constant", recurse=True):
                if node.output().type().kind() == "DeviceObjType":
                    node.s_("value", str(device))
