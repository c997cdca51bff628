"""ExecuTorch: a program for phones and boards, its arithmetic done by XNNPACK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from onelook.exports.folder import file_of, read_folder_metadata, require_cpu, write_folder_metadata
from onelook.exports.onnx import MAX_BYTES, damaged
from onelook.exports.plan import ExportPlan, Images, Predictions
from onelook.exports.quiet import quietly
from onelook.exports.running import ExportedModel, one_at_a_time
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import read_bounded

MODEL = "model.pte"


def export_executorch(plan: ExportPlan, folder: Path) -> None:
    """Write `plan` into `folder`, which exists."""
    with quietly():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.export(Predictions(plan.model, plan.metadata).eval(), (plan.example(),))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    write_bytes_atomic(folder / MODEL, lowered.buffer)
    write_folder_metadata(folder, plan.metadata)


def open_executorch(folder: Path, device: torch.device) -> ExportedModel:
    """The export in `folder`, ready to run on the CPU; errors as of `Format.open`."""
    metadata = read_folder_metadata(folder)
    require_cpu(device, "ExecuTorch")
    data = read_bounded(file_of(folder, MODEL), MAX_BYTES)
    with quietly():
        from executorch.runtime import Runtime

        try:
            program = Runtime.get().load_program(data)
            program.load_method("forward")
        except (RuntimeError, KeyError) as problem:
            raise damaged(folder, problem) from problem

    def run(images: Images) -> Images:  # through the program: its memory must outlive the method
        return np.asarray(program.load_method("forward").execute([torch.from_numpy(images)])[0].numpy())

    return ExportedModel(metadata, one_at_a_time(run), label=folder.name)
