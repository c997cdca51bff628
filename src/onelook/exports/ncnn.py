"""ncnn: made by pnnx from the traced network up to its last convolutions; boxes are decoded by whoever runs it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from onelook.errors import ModelError, counted
from onelook.exports.folder import file_of, read_folder_metadata, require_cpu, write_folder_metadata
from onelook.exports.onnx import damaged
from onelook.exports.plan import ExportPlan, HeadMaps, Images
from onelook.exports.quiet import quietly
from onelook.exports.running import ExportedModel

PARAM, WEIGHTS = "model.ncnn.param", "model.ncnn.bin"


def export_ncnn(plan: ExportPlan, folder: Path) -> None:
    """Write `plan` into `folder`, which exists; the precision fp16 is that of the stored weights.

    Raises:
        ModelError: pnnx wrote no files.
    """
    with TemporaryDirectory() as scratch, quietly():
        import pnnx

        stem = Path(scratch, "model")
        try:
            pnnx.export(
                HeadMaps(plan.model).eval(),
                f"{stem}.pt",
                (plan.example(),),
                check_trace=False,
                fp16=plan.metadata.precision == "fp16",
                **{f"{kind}{part}": f"{stem}.{kind}.{part}" for kind in ("pnnx", "ncnn") for part in ("param", "bin")},
                pnnxpy=f"{stem}_pnnx.py",
                pnnxonnx=f"{stem}.onnx",
                ncnnpy=f"{stem}_ncnn.py",
            )
        finally:
            sys.modules.pop(f"{stem}_pnnx", None)
        for name in (PARAM, WEIGHTS):
            if not Path(scratch, name).is_file():
                raise ModelError("pnnx could not convert the model", hint="export to onnx, which takes every model")
            shutil.copyfile(Path(scratch, name), folder / name)
    write_folder_metadata(folder, plan.metadata)


def open_ncnn(folder: Path, device: torch.device) -> ExportedModel:
    """The export in `folder`, ready to run on the CPU; errors as of `Format.open`."""
    import ncnn

    metadata = read_folder_metadata(folder)
    require_cpu(device, "ncnn")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = torch.get_num_threads()
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, name, False)  # the same numbers on every processor
    if net.load_param(str(file_of(folder, PARAM))) or net.load_model(str(file_of(folder, WEIGHTS))):
        raise damaged(folder, ValueError("ncnn refuses its files"))
    sources, outputs = net.input_names(), net.output_names()
    if len(sources) != 1:
        raise damaged(folder, ValueError(f"`{PARAM}` has {counted(len(sources), 'input')}, and one is expected"))

    def run(images: Images) -> list[Images]:
        extractor = net.create_extractor()
        extractor.input(sources[0], ncnn.Mat(images[0]).clone())
        return [np.array(extractor.extract(name)[1])[None] for name in outputs]

    return ExportedModel(metadata, run, label=folder.name)
