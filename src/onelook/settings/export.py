"""Every option of an export. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from onelook.errors import SettingsError
from onelook.settings.head import HeadChoice
from onelook.settings.nearest_name import nearest_name
from onelook.settings.strict_settings import StrictSettings
from onelook.settings.train import IMGSZ_ALIASES

FORMAT_NAMES = ("onnx", "openvino", "torchscript", "ncnn", "executorch", "coreml", "litert", "tensorrt")

# What other programs call these formats; a hint, since some of theirs differ in the details.
FOREIGN_FORMATS = {
    "engine": "tensorrt", "trt": "tensorrt", "mlmodel": "coreml", "mlpackage": "coreml", "tflite": "litert",
    "saved_model": "litert", "pb": "litert", "edgetpu": "litert", "tfjs": "litert", "torch": "torchscript",
    "pt": "torchscript", "pte": "executorch", "ov": "openvino", "param": "ncnn",
}  # fmt: skip


def one_word_each(given: Any) -> Any:
    """Names of formats as a list without repeats, from one text or a list of texts, with commas or spaces between."""
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        return given
    return list(dict.fromkeys(name for word in words for name in word.lower().replace(",", " ").split()))


def known_formats(names: list[str]) -> list[str]:
    """`names`, if all are formats; SettingsError if one is not."""
    for name in names:
        if name not in FORMAT_NAMES:
            ours = FOREIGN_FORMATS.get(name)
            hint = f"the nearest format here is `{ours}`" if ours else nearest_name(name, list(FORMAT_NAMES))
            raise SettingsError(f"`format` is `{name}`", hint=hint)
    return names


FormatNames = Annotated[list[str], BeforeValidator(one_word_each), AfterValidator(known_formats)]
"""Names of formats that are known, each once."""


class ExportSettings(StrictSettings):
    """All settings of `onelook export`."""

    weights: Path
    """Checkpoint (.safetensors, or .pt of YOLOv5) to export."""
    head: HeadChoice = Field("auto")
    """Branch of a head with two: `many` boxes per object, with NMS, or `one`; auto takes the better in validation.
    """
    format: FormatNames = Field(["onnx"], min_length=1, json_schema_extra={"aliases": ["--include"]})
    """One or several of onnx, openvino, torchscript, ncnn, executorch, coreml, litert, tensorrt."""
    data: str = Field("")
    """Dataset YAML: mAP before and after is compared on its val split; int8 measures ranges on its train split."""
    imgsz: list[int] = Field([], max_length=2, json_schema_extra=IMGSZ_ALIASES)
    """Size of the images, pixels: one side, or height and width; multiples of the model's stride. If not given, the
    training size."""
    batch_size: int = Field(1, ge=1)
    """Images per call; with dynamic, any number is accepted."""
    dynamic: bool = Field(False)
    """Take images of any size that is a multiple of the stride, and, except for ncnn, any number of them."""
    half: bool = Field(False)
    """16-bit weights and arithmetic in the network; images, boxes and scores stay in 32 bits."""
    int8: bool = Field(False)
    """8-bit arithmetic in the network, except for the last convolutions; needs data."""
    calibration_images: int = Field(100, ge=1)
    """Training images on which int8 measures the ranges of activations."""
    nms: bool = Field(False)
    """Put NMS into the graph, with the four settings below."""
    conf_thres: float = Field(0.25, ge=0, le=1)
    """Minimum confidence of a detection, with nms."""
    iou_thres: float = Field(0.45, ge=0, le=1)
    """IoU above which the weaker of two detections is dropped, with nms."""
    max_det: int = Field(1000, ge=1)
    """Maximum number of detections per image, with nms."""
    agnostic_nms: bool = Field(False)
    """Apply NMS across classes instead of within each, with nms."""
    layout: Literal["rows", "channels-first", "end-to-end", "yolox"] = Field("rows")
    """Form of the output: rows of boxes; channels-first, with the boxes along the last axis; end-to-end, the 300 best
    detections of a head that needs no NMS; yolox, the boxes of a YOLOX head as YOLOX itself exports them."""
    simplify: bool = Field(True)
    """Fold constants of the ONNX graph and drop unused nodes; off writes the graph as it was traced."""
    opset: int = Field(20, ge=12, le=23)
    """Version of the operators of ONNX; dynamic, int8 and nms need 18."""
    workspace: float = Field(4.0, gt=0)
    """Memory that TensorRT may use while it builds, GiB."""
    device: str = Field("")
    """Where the export is compared with the model: cpu or a GPU number; TensorRT needs a GPU."""
    max_loss: float = Field(0.5, ge=0, le=100)
    """Largest accepted loss of mAP50-95, in points of 100; with data."""
    allow_mismatch: bool = Field(False)
    """Keep an export whose results differ from the model's."""
    workers: int = Field(8, ge=0)
    """Maximum number of processes that load images of `data`."""
    output: str = Field("")
    """Folder for the exports; empty means beside the weights."""
    exist_ok: bool = Field(False)
    """Replace existing exports."""

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> ExportSettings:
        if self.half and self.int8:
            raise SettingsError("`half` and `int8` exclude each other", hint="drop one, or export twice")
        if self.int8 and not self.data:
            raise SettingsError("`int8` needs images to measure ranges on", hint="add `--data`")
        clashing = [name for name in ("dynamic", "int8", "nms") if getattr(self, name)]
        if self.opset < 18 and clashing:
            raise SettingsError(
                f"setting `opset` is {self.opset}; `{clashing[0]}` needs at least 18",
                hint=f"use `--opset 18`, or drop `{clashing[0]}`",
            )
        if self.layout != "rows" and self.nms:
            raise SettingsError(
                f"`nms` has a layout of its own, x1, y1, x2, y2, confidence, class, and `layout` is `{self.layout}`",
                hint="drop one of them",
            )
        if self.layout == "end-to-end" and self.dynamic:
            raise SettingsError(
                "`layout: end-to-end` gives 300 detections, which images of any size may not have",
                hint="drop `dynamic`, or use `--layout rows`",
            )
        self.refuse_idle("conf_thres", "iou_thres", "max_det", "agnostic_nms", without="nms")
        self.refuse_idle("calibration_images", without="int8")
        self.refuse_idle("max_loss", "workers", without="data")
        return self
