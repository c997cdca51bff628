"""Every option of a benchmark. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from onelook.settings.export import FormatNames
from onelook.settings.head import HeadChoice
from onelook.settings.strict_settings import StrictSettings
from onelook.settings.train import IMGSZ_ALIASES


class BenchmarkSettings(StrictSettings):
    """All settings of `onelook benchmark`."""

    weights: Path
    """Checkpoint (.safetensors, or .pt of YOLOv5) whose exports are measured."""
    head: HeadChoice = Field("auto")
    """Branch of a head with two: `many` boxes per object, with NMS, or `one`; auto takes the better in validation.
    """
    format: FormatNames = Field(
        ["onnx", "openvino", "torchscript"], min_length=1, json_schema_extra={"aliases": ["--include"]}
    )
    """Some of onnx, openvino, torchscript, ncnn, executorch, coreml, litert, tensorrt; PyTorch is always measured."""
    data: str = Field("")
    """Dataset YAML on whose val split mAP is measured; empty skips mAP."""
    imgsz: list[int] = Field([], max_length=2, json_schema_extra=IMGSZ_ALIASES)
    """Size of the images, pixels: one side, or height and width; multiples of the model's stride. If not given, the
    training size."""
    batch_size: int = Field(1, ge=1)
    """Images per call."""
    half: bool = Field(False)
    """Export in 16 bits."""
    int8: bool = Field(False)
    """Export in 8 bits; needs data."""
    rounds: int = Field(20, ge=1)
    """Number of timed calls per format, in alternation; the median is reported."""
    device: str = Field("")
    """cpu or a GPU number; empty takes the first GPU if there is one, for the formats that can use it."""
    workers: int = Field(8, ge=0)
    """Maximum number of processes that load images of `data`."""
    project: Path = Field(Path("runs/benchmark"))
    """Folder of the run folders."""
    name: str = Field("exp", min_length=1)
    """Name of the run folder; a number is added if it is taken."""
    exist_ok: bool = Field(False)
    """Write into the run folder even if it already exists."""

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> BenchmarkSettings:
        self.refuse_idle("workers", without="data")
        return self
