"""Every option of a validation. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from onelook.settings.train import IMGSZ_ALIASES


class ValidateSettings(BaseModel):
    """All settings of `onelook val`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    weights: Path
    """Checkpoint to validate, .safetensors or .pt of YOLOv5."""
    data: Path = Field(Path("data.yaml"))
    """Data-set YAML: where the images are and what the classes are called."""
    task: Literal["val", "test", "train"] = Field("val")
    """Which split to validate on."""
    batch_size: int = Field(32, ge=1)
    """Images per batch; changes the speed and, by the padding of the images, the last digits of the results."""
    imgsz: int = Field(640, ge=32, multiple_of=32, json_schema_extra=IMGSZ_ALIASES)
    """Longest side of the images, pixels; a multiple of the model's largest stride."""
    conf_thres: float = Field(0.001, ge=0, le=1)
    """Least score of a detection; anything above 0.001 lowers the metrics."""
    iou_thres: float = Field(0.6, ge=0, le=1)
    """Overlap above which the weaker of two detections is dropped."""
    max_det: int = Field(300, ge=1)
    """Most detections per image."""
    device: str = Field("")
    """cpu, a GPU number, several as in 0,1,2,3 (one process each), or mps; empty takes the first GPU if any."""
    nproc: int = Field(0, ge=0)
    """Processes that share the work on this machine; 0 for one per device. The result does not depend on it."""
    workers: int = Field(8, ge=0)
    """Most processes that load images."""
    single_cls: bool = Field(False)
    """Treat all classes as one."""
    save_json: bool = Field(False)
    """Write truth and predictions in COCO's format, for other evaluators."""
    noplots: bool = Field(False)
    """Write no pictures."""
    project: Path = Field(Path("runs/val"))
    """Folder of the run folders."""
    name: str = Field("exp", min_length=1)
    """Name of the run folder; a number is added if it is taken."""
    exist_ok: bool = Field(False)
    """Write into the run folder even if it is there already."""
    strict: bool = Field(False)
    """Stop if any label row or image cannot be used, in place of going on without it."""
    allow_unlabelled: bool = Field(False)
    """Accept that most images have no label file: they are all background."""
