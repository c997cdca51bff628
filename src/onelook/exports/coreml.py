"""Core ML: a package for Apple's devices; it can be written anywhere and runs on macOS."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import torch

from onelook.errors import DeviceError
from onelook.exports.metadata import read_metadata
from onelook.exports.onnx import INPUT, OUTPUT, damaged
from onelook.exports.plan import ExportPlan, Images, Predictions
from onelook.exports.quiet import quietly
from onelook.exports.running import ExportedModel, one_at_a_time
from onelook.training.weights import METADATA_KEY


def export_coreml(plan: ExportPlan, package: Path) -> None:
    """Write `plan` as the package (a folder) `package`."""
    with quietly():
        import coremltools

        program = torch.export.export(
            Predictions(plan.model, plan.metadata).eval(), (plan.example(),)
        ).run_decompositions({})
        half = plan.metadata.precision == "fp16"
        model = coremltools.convert(
            program,
            inputs=[coremltools.TensorType(name=INPUT, shape=tuple(plan.example().shape))],
            outputs=[coremltools.TensorType(name=OUTPUT, dtype=np.float32)],
            compute_precision=coremltools.precision.FLOAT16 if half else coremltools.precision.FLOAT32,
            minimum_deployment_target=coremltools.target.iOS16,
        )
        model.user_defined_metadata[METADATA_KEY] = plan.metadata.as_json()
        model.save(str(package))


def open_coreml(package: Path, device: torch.device) -> ExportedModel:
    """The package, ready to run; Core ML chooses the processor; errors as of `Format.open`."""
    if platform.system() != "Darwin":
        raise DeviceError(f"Core ML runs on macOS only, this is {platform.system()}", hint="use another format here")
    import coremltools

    units = coremltools.ComputeUnit.CPU_ONLY if device.type == "cpu" else coremltools.ComputeUnit.ALL
    try:
        model = coremltools.models.MLModel(str(package), compute_units=units)
    except (RuntimeError, ValueError) as problem:
        raise damaged(package, problem) from problem
    metadata = read_metadata(model.user_defined_metadata.get(METADATA_KEY), package.name)

    def run(images: Images) -> Images:
        return np.asarray(model.predict({INPUT: images})[OUTPUT], np.float32)

    return ExportedModel(metadata, one_at_a_time(run), label=package.name)
