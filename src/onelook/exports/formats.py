"""The formats that detectors are exported to, in one dictionary."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from onelook.errors import SettingsError
from onelook.exports.coreml import export_coreml, open_coreml
from onelook.exports.executorch import export_executorch, open_executorch
from onelook.exports.litert import export_litert, open_litert
from onelook.exports.ncnn import export_ncnn, open_ncnn
from onelook.exports.onnx import export_onnx, open_onnx
from onelook.exports.openvino import export_openvino, open_openvino
from onelook.exports.plan import ExportPlan
from onelook.exports.running import ExportedModel
from onelook.exports.tensorrt import export_tensorrt, open_tensorrt
from onelook.exports.torchscript import export_torchscript, open_torchscript


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        summary: what it is, in a few words.
        ending: what follows the stem of the weights in the name of the file or folder.
        write: writes a plan to a file that is not there yet, or into an empty folder.
        open: makes what `write` wrote ready to run on a device. It raises CheckpointError for a file that is damaged
            or not of `onelook export`, and DeviceError for a device that the format cannot use.
        makers: packages that `write` needs.
        runners: packages that `open` needs.
        takes: the options it supports of half, int8, dynamic, nms, layout, simplify, opset, workspace and batch_size.
        is_package: a folder that `write` makes itself.
        system: the only operating system that it runs on; empty for all.
    """

    summary: str
    ending: str
    write: Callable[[ExportPlan, Path], None]
    open: Callable[[Path, torch.device], ExportedModel]
    makers: tuple[str, ...] = ()
    runners: tuple[str, ...] = ()
    install: str = 'pip install "onelook[export]"'
    takes: frozenset[str] = frozenset()
    is_package: bool = False
    system: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of files that Onelook makes."""
        return not self.ending.startswith(".")

    @property
    def runs_here(self) -> bool:
        """Whether it can run on this machine's operating system."""
        return self.system in ("", platform.system())


ONNX = ("onnx", "onnxscript", "onnxruntime")
MOBILE = 'pip install "onelook[export-mobile]"'

EXPORTERS: dict[str, Format] = {
    "onnx": Format(
        "ONNX Runtime and many others",
        ".onnx",
        export_onnx,
        open_onnx,
        makers=ONNX,
        runners=("onnxruntime",),
        takes=frozenset({"half", "int8", "dynamic", "nms", "layout", "simplify", "opset", "batch_size"}),
    ),
    "openvino": Format(
        "Intel processors",
        "_openvino",
        export_openvino,
        open_openvino,
        makers=(*ONNX, "openvino"),
        runners=("openvino",),
        takes=frozenset({"half", "int8", "dynamic", "nms", "layout", "batch_size"}),
    ),
    "torchscript": Format(
        "C++ programs with LibTorch",
        ".torchscript",
        export_torchscript,
        open_torchscript,
        takes=frozenset({"half", "dynamic", "layout", "batch_size"}),
    ),
    "ncnn": Format(
        "phones and boards without a GPU",
        "_ncnn",
        export_ncnn,
        open_ncnn,
        makers=("pnnx",),
        runners=("ncnn",),
        install=MOBILE,
        takes=frozenset({"half", "dynamic"}),
    ),
    "executorch": Format(
        "phones and boards, PyTorch's own",
        "_executorch",
        export_executorch,
        open_executorch,
        makers=("executorch",),
        runners=("executorch",),
        install=MOBILE,
        takes=frozenset({"batch_size"}),
    ),
    "coreml": Format(
        "Apple's devices",
        ".mlpackage",
        export_coreml,
        open_coreml,
        makers=("coremltools",),
        runners=("coremltools",),
        install=MOBILE,
        takes=frozenset({"half", "batch_size"}),
        is_package=True,
        system="Darwin",
    ),
    "litert": Format(
        "phones and boards, Google's",
        "_litert",
        export_litert,
        open_litert,
        makers=("litert_torch",),
        runners=("ai_edge_litert",),
        install="pip install litert-torch ai-edge-litert, in an environment of its own",
        takes=frozenset({"batch_size"}),
    ),
    "tensorrt": Format(
        "NVIDIA GPUs",
        "_tensorrt",
        export_tensorrt,
        open_tensorrt,
        makers=(*ONNX, "tensorrt"),
        runners=("tensorrt",),
        install="pip install tensorrt",
        takes=frozenset({"half", "simplify", "opset", "workspace", "batch_size"}),
    ),
}


def format_of(path: Path) -> str | None:
    """The format that the name of a file or folder stands for; None if it is no export."""
    return next((name for name, kind in EXPORTERS.items() if path.name.endswith(kind.ending)), None)


def require(name: str, packages: tuple[str, ...]) -> None:
    """Refuse a format whose packages are not installed; SettingsError if one is missing."""
    missing = [package for package in dict.fromkeys(packages) if find_spec(package) is None]
    if missing:
        raise SettingsError(
            f"format `{name}` needs the package{'s' if len(missing) > 1 else ''} {', '.join(missing)}, "
            f"which {'are' if len(missing) > 1 else 'is'} not installed",
            hint=EXPORTERS[name].install,
        )
