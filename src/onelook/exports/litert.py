"""LiteRT (TensorFlow Lite's successor): a flat file for phones and boards, written from the traced graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from onelook.exports.folder import file_of, read_folder_metadata, require_cpu, write_folder_metadata
from onelook.exports.onnx import MAX_BYTES, damaged
from onelook.exports.plan import ExportPlan, Images, Predictions
from onelook.exports.quiet import quietly
from onelook.exports.running import ExportedModel, one_at_a_time
from onelook.files.bounded import read_bounded

MODEL = "model.tflite"


def export_litert(plan: ExportPlan, folder: Path) -> None:
    """Write `plan` into `folder`, which exists."""
    with quietly():
        import litert_torch

        litert_torch.convert(Predictions(plan.model, plan.metadata).eval(), (plan.example(),)).export(
            str(folder / MODEL)
        )
    write_folder_metadata(folder, plan.metadata)


def open_litert(folder: Path, device: torch.device) -> ExportedModel:
    """The export in `folder`, ready to run on the CPU; errors as of `Format.open`."""
    from ai_edge_litert.interpreter import Interpreter

    metadata = read_folder_metadata(folder)
    require_cpu(device, "LiteRT")
    data = read_bounded(file_of(folder, MODEL), MAX_BYTES)
    with quietly():
        try:
            interpreter = Interpreter(model_content=data, num_threads=torch.get_num_threads())
            interpreter.allocate_tensors()
            source, target = (
                of()[0]["index"] for of in (interpreter.get_input_details, interpreter.get_output_details)
            )
        except (RuntimeError, ValueError, IndexError) as problem:
            raise damaged(folder, problem) from problem

    def run(images: Images) -> Images:
        interpreter.set_tensor(source, images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(target))

    return ExportedModel(metadata, one_at_a_time(run), label=folder.name)
