"""TensorRT: an engine compiled for one kind of NVIDIA GPU, from the ONNX graph, whose types it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from onelook.errors import DeviceError, ModelError
from onelook.exports.folder import file_of, read_folder_metadata, write_folder_metadata
from onelook.exports.onnx import INPUT, MAX_BYTES, OUTPUT, build_onnx, damaged
from onelook.exports.plan import ExportPlan, Images
from onelook.exports.running import ExportedModel, one_at_a_time
from onelook.exports.trusted_programs import refuse_others, remember
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import read_bounded

MODEL = "model.engine"


def export_tensorrt(plan: ExportPlan, folder: Path) -> None:
    """Write `plan` into `folder`, which exists.

    Raises:
        DeviceError: there is no GPU.
        ModelError: TensorRT cannot build the network.
    """
    import tensorrt

    if not torch.cuda.is_available():
        raise DeviceError("TensorRT builds engines on the GPU they are for, and there is none", hint="export to onnx")
    log = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(log)
    # Types follow the graph, which says where 16 and 8 bits are used; newer versions know no other way.
    typed = getattr(tensorrt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = tensorrt.OnnxParser(network, log)
    if not parser.parse(build_onnx(plan).SerializeToString()):
        problems = "; ".join(str(parser.get_error(number)) for number in range(parser.num_errors))
        raise ModelError(f"TensorRT cannot read the network: {problems}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, int(plan.workspace_gib * 2**30))
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ModelError("TensorRT cannot build the network", hint="give it more memory with `--workspace`")
    data = bytes(engine)
    write_bytes_atomic(folder / MODEL, data)
    write_folder_metadata(folder, plan.metadata)
    remember(data)


def open_tensorrt(folder: Path, device: torch.device) -> ExportedModel:
    """The export in `folder`, ready to run on the GPU.

    Raises:
        CheckpointError: no export of this user on this machine wrote it, or it is damaged.
        DeviceError: another device is asked for.
    """
    import tensorrt

    metadata = read_folder_metadata(folder)
    if device.type != "cuda":
        raise DeviceError(f"TensorRT engines run on NVIDIA GPUs, not on `{device}`", hint="use `--device 0`")
    path = file_of(folder, MODEL)
    data = read_bounded(path, MAX_BYTES)
    refuse_others(data, path)
    with torch.cuda.device(device):
        engine = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR)).deserialize_cuda_engine(data)
        if engine is None:
            raise damaged(folder, ValueError("TensorRT refuses it; engines suit one kind of GPU and one version"))
        context = engine.create_execution_context()
        if context is None:
            raise DeviceError(
                f"TensorRT has too little memory for the exported model `{folder}`",
                hint="end other programs on the GPU, or export for smaller images",
            )
    return ExportedModel(metadata, one_at_a_time(_TensorRtRun(engine, context, device)), label=folder.name)


class _TensorRtRun:
    """Images to predictions, on the GPU and back."""

    def __init__(self, engine: Any, context: Any, device: torch.device) -> None:
        self._engine = engine  # the context needs it alive
        self._context = context
        self._device = device

    def __call__(self, images: Images) -> Images:
        with torch.cuda.device(self._device):
            given = torch.from_numpy(images).to(self._device)
            _require(self._context.set_input_shape(INPUT, tuple(given.shape)), "images of this size")
            output = torch.empty(tuple(self._context.get_tensor_shape(OUTPUT)), device=self._device)
            for name, tensor in ((INPUT, given), (OUTPUT, output)):
                _require(self._context.set_tensor_address(name, tensor.data_ptr()), f"the memory of `{name}`")
            stream = torch.cuda.current_stream(self._device)
            _require(self._context.execute_async_v3(stream.cuda_stream), "to run")
            stream.synchronize()
            return np.asarray(output.cpu())


def _require(done: bool, what: str) -> None:
    if not done:
        raise RuntimeError(f"TensorRT refuses {what}")
