"""Every option of a detection run. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from onelook.errors import SettingsError
from onelook.settings.train import IMGSZ_ALIASES


class DetectSettings(BaseModel):
    """All settings of `onelook detect`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    weights: list[Path] = Field(min_length=1)
    """Checkpoint to use, .safetensors or .pt of YOLOv5, or an exported model; several are an ensemble."""
    source: str = Field(min_length=1)
    """What to look at: a picture, a video, a folder, a pattern in quotes, or a .txt list of files."""
    imgsz: list[int] = Field([640], min_length=1, max_length=2, json_schema_extra=IMGSZ_ALIASES)
    """Size that pictures are fitted into, pixels: one side, or height and width; multiples of the model's stride."""
    batch_size: int = Field(8, ge=1)
    """Pictures of the same shape that go through the network together; changes the speed only."""
    conf_thres: float = Field(0.25, ge=0, le=1)
    """Least score of a detection."""
    iou_thres: float = Field(0.45, ge=0, le=1)
    """Overlap above which the weaker of two detections is dropped."""
    max_det: int = Field(1000, ge=1)
    """Most detections per picture."""
    classes: list[int] = Field([])
    """Only these classes, by number; none given means all."""
    agnostic_nms: bool = Field(False)
    """Detections of different classes suppress each other too."""
    device: str = Field("")
    """cpu, a GPU number, or mps; empty takes the first GPU if there is one."""
    half: bool = Field(False)
    """16-bit arithmetic in the network; GPUs only."""
    augment: bool = Field(False)
    """Look at each picture in three ways, smaller and mirrored: slower, and better at small objects."""
    vid_stride: int = Field(1, ge=1)
    """Look at every n-th frame of a video."""
    nosave: bool = Field(False)
    """Write no pictures and no videos."""
    line_thickness: int = Field(0, ge=0, le=100)
    """Thickness of the drawn boxes, pixels; 0 takes one that suits the picture."""
    hide_labels: bool = Field(False)
    """Draw boxes without class names."""
    hide_conf: bool = Field(False)
    """Draw class names without scores."""
    save_txt: bool = Field(False)
    """Write labels/*.txt: a line `class x y w h` per detection, as fractions of the picture."""
    save_conf: bool = Field(False)
    """Add the score to the lines of save_txt."""
    save_csv: bool = Field(False)
    """Write predictions.csv: a line per detection, in pixels."""
    save_json: bool = Field(False)
    """Write predictions.json: detections in the style of COCO's result files."""
    save_crop: bool = Field(False)
    """Write a picture of every detection to crops/<class>/."""
    project: Path = Field(Path("runs/detect"))
    """Folder of the run folders."""
    name: str = Field("exp", min_length=1)
    """Name of the run folder; a number is added if it is taken."""
    exist_ok: bool = Field(False)
    """Write into the run folder even if it is there already."""

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> DetectSettings:
        if self.save_conf and not self.save_txt:
            raise SettingsError("setting `save_conf` has no effect without `save_txt`", hint="add `--save-txt`")
        if self.nosave and (self.line_thickness or self.hide_labels or self.hide_conf):
            raise SettingsError("settings for drawing have no effect with `nosave`", hint="drop `--nosave`")
        return self
