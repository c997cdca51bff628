"""Every option of a validation. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from onelook.errors import SettingsError
from onelook.files.image_headers import MAX_PIXELS, MOST_PIXELS
from onelook.settings.head import HeadChoice
from onelook.settings.strict_settings import StrictSettings
from onelook.settings.train import IMGSZ_ALIASES, MAX_IMGSZ

STUDY_SIZE, STUDY_STEP = 256, 128
DEFAULTS_OF_TASKS: dict[str, dict[str, Any]] = {
    "speed": {"conf_thres": 0.25, "iou_thres": 0.45},
    "study": {"imgsz": 1536},
}
"""Where tasks differ from the defaults below."""


class ValidateSettings(StrictSettings):
    """All settings of `onelook val`."""

    weights: list[Path] = Field(min_length=1)
    """Checkpoint to validate, .safetensors or .pt of YOLOv5, or an exported model; several are an ensemble."""
    head: HeadChoice = Field("auto")
    """Branch of a head with two: `many` boxes per object, with NMS, or `one`; auto takes the better in validation.
    Where NMS is needed anyway (augment, an ensemble) auto takes many."""
    data: Path = Field(Path("data.yaml"))
    """Dataset: a YAML with image folders and class names, or a folder or file in a known layout."""
    task: Literal["val", "test", "train", "speed", "study"] = Field("val")
    """Split to validate on; or speed: time per image with the thresholds of detection, for each of the weights; or
    study: precision and time for image sizes from 256 to imgsz (1536 unless given) in steps of 128."""
    batch_size: int = Field(32, ge=1)
    """Images per batch; changes speed, memory and, by rounding, the last digits of the detections."""
    imgsz: int | None = Field(None, ge=32, le=MAX_IMGSZ, multiple_of=32, json_schema_extra=IMGSZ_ALIASES)
    """Longest side of the images, pixels; a multiple of the model's largest stride. If not given, the training
    size, or that of an exported model."""
    conf_thres: float = Field(0.001, ge=0, le=1)
    """Minimum confidence of a detection; anything above 0.001 lowers the metrics."""
    iou_thres: float = Field(0.6, ge=0, le=1)
    """IoU above which the weaker of two detections is dropped."""
    max_det: int = Field(300, ge=1)
    """Maximum number of detections per image."""
    device: str = Field("")
    """cpu, a GPU number, several as in 0,1,2,3 (one process each), or mps; empty takes the first GPU if any."""
    nproc: int = Field(0, ge=0)
    """Processes that share the work on this machine; 0 for one per device. The result does not depend on it."""
    workers: int = Field(8, ge=0)
    """Maximum number of processes that load images."""
    single_cls: bool = Field(False)
    """Treat all classes as one."""
    augment: bool = Field(False)
    """Test-time augmentation: predict on each image in three sizes, one mirrored; slower, better on small objects."""
    half: bool = Field(False)
    """16-bit arithmetic in the network; GPUs only."""
    verbose: bool = Field(False)
    """Show a line for each class even if there are 50 or more."""
    save_txt: bool = Field(False)
    """Write labels/*.txt: a line `class x y w h` per detection, as fractions of the image."""
    save_conf: bool = Field(False)
    """Add the confidence to the lines of save_txt."""
    save_hybrid: bool = Field(False)
    """Write labels/*.txt with labels and detections together; the metrics then include the labels."""
    save_json: bool = Field(False)
    """Write labels and predictions in COCO's format, for other evaluators; with COCO's own ids if its classes are."""
    visualize: bool = Field(False)
    """Write val_images.html, a page of all images with right, wrong and missed boxes; takes about 40 kB an image."""
    noplots: bool = Field(False)
    """Write no images."""
    project: Path = Field(Path("runs/val"))
    """Folder of the run folders."""
    name: str = Field("exp", min_length=1)
    """Name of the run folder; a number is added if it is taken."""
    exist_ok: bool = Field(False)
    """Write into the run folder even if it already exists."""
    strict: bool = Field(False)
    """Stop if any label row or image cannot be used, instead of continuing without it."""
    allow_unlabelled: bool = Field(False)
    """Accept that most images have no label file: they are all background."""
    max_pixels: int = Field(MAX_PIXELS, ge=100, le=MOST_PIXELS)
    """Maximum number of pixels of an image; larger ones are not used. A decoded image takes 3 bytes a pixel."""

    @property
    def split(self) -> str:
        """Split that is validated."""
        return "val" if self.is_series else self.task

    @property
    def is_series(self) -> bool:
        """Whether there are several measurements, each of one model at one size."""
        return self.task in ("speed", "study")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Longest sides of the images, pixels, one for each measurement of a model."""
        assert self.imgsz is not None, "the size of training is put in its place when the weights are read"
        return tuple(range(STUDY_SIZE, self.imgsz + 1, STUDY_STEP)) if self.task == "study" else (self.imgsz,)

    @model_validator(mode="before")
    @classmethod
    def _add_task_defaults(cls, given: Any) -> Any:
        task = given.get("task") if isinstance(given, dict) else None
        return {**DEFAULTS_OF_TASKS[task], **given} if isinstance(task, str) and task in DEFAULTS_OF_TASKS else given

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> ValidateSettings:
        if self.save_conf and not (self.save_txt or self.save_hybrid):
            raise SettingsError("setting `save_conf` has no effect without `save_txt`", hint="add `--save-txt`")
        if not self.is_series:
            return self
        files = [
            name for name in ("save_txt", "save_hybrid", "save_json", "visualize", "verbose") if getattr(self, name)
        ]
        if files:
            raise SettingsError(f"setting `{files[0]}` has no effect with task `{self.task}`", hint="drop it")
        if self.nproc > 1 or "," in self.device:
            raise SettingsError(
                f"task `{self.task}` measures times, which several processes would disturb", hint="use one device"
            )
        if self.task == "study" and self.imgsz and (self.imgsz < STUDY_SIZE or (self.imgsz - STUDY_SIZE) % STUDY_STEP):
            raise SettingsError(
                f"setting `imgsz` is {self.imgsz}; a study ends at {STUDY_SIZE} or some steps of {STUDY_STEP} above it",
                hint=f"use {max(STUDY_SIZE, self.imgsz - (self.imgsz - STUDY_SIZE) % STUDY_STEP)}",
            )
        return self
