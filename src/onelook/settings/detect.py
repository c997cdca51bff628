"""Every option of a detection run. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from onelook.errors import SettingsError
from onelook.files.image_headers import MAX_PIXELS, MOST_PIXELS
from onelook.settings.classes import ClassList
from onelook.settings.head import HeadChoice
from onelook.settings.strict_settings import StrictSettings
from onelook.settings.train import IMGSZ_ALIASES


class LoadSettings(StrictSettings):
    """Settings of a detector: all of `onelook.load`, and part of those of `onelook detect`."""

    weights: list[Path] = Field(min_length=1)
    """Checkpoint to use, .safetensors or .pt of YOLOv5, or an exported model; several are an ensemble."""
    head: HeadChoice = Field("auto")
    """Branch of a head with two: `many` boxes per object, with NMS, or `one`; auto takes the better in validation.
    Where NMS is needed anyway (augment, several weights) auto takes many."""
    imgsz: list[int] = Field([], max_length=2, json_schema_extra=IMGSZ_ALIASES)
    """Size that images are fitted into, pixels: one side, or height and width; multiples of the model's stride. If not
    given, the training size, or the only size of an exported model."""
    conf_thres: float = Field(0.25, ge=0, le=1)
    """Minimum confidence of a detection."""
    iou_thres: float = Field(0.45, ge=0, le=1)
    """IoU above which the weaker of two detections is dropped."""
    max_det: int = Field(1000, ge=1)
    """Maximum number of detections per image."""
    classes: ClassList = Field([])
    """Only these classes, by number or name, separated by commas or spaces; all if not given."""
    agnostic_nms: bool = Field(False)
    """Apply NMS across classes instead of within each."""
    device: str = Field("")
    """cpu, a GPU number, or mps; empty takes the first GPU if there is one."""
    half: bool = Field(False)
    """16-bit arithmetic in the network; GPUs only."""
    augment: bool = Field(False)
    """Test-time augmentation: predict on each image in three sizes, one mirrored; slower, better on small objects."""


class DetectSettings(LoadSettings):
    """All settings of `onelook detect`."""

    source: list[str] = Field(min_length=1)
    """Files, folders, "patterns", .txt lists and web files; or cameras, streams, screens, .streams lists."""
    batch_size: int = Field(8, ge=1)
    """Images of the same shape that go through the network together; changes the speed only."""
    vid_stride: int = Field(1, ge=1)
    """Use every n-th frame of a video, camera, stream or screen."""
    reconnect: int = Field(10, ge=0)
    """Maximum number of attempts in a row to reconnect a camera, stream or screen, with growing waits."""
    max_pixels: int = Field(MAX_PIXELS, ge=100, le=MOST_PIXELS)
    """Maximum number of pixels that an image is decoded to as a whole, at 3 bytes each; larger ones are not used, or
    are decoded in bands for tiles."""
    tile: int = Field(0, ge=0)
    """Side of square tiles in which larger images are also predicted, pixels, for small objects; 0 for none."""
    tile_overlap: float = Field(0.2, ge=0, le=0.9)
    """Overlap of neighbouring tiles, as a share of their side: at least the size of the small objects."""
    tracker: Literal["none", "bytetrack"] = Field("none")
    """Follow objects through videos and streams, and give each an id that it keeps: bytetrack, by motion and overlap.
    Detections below conf_thres, down to 0.1, keep an id alive."""
    nosave: bool = Field(False)
    """Write no images and no videos."""
    line_thickness: int = Field(0, ge=0, le=100)
    """Thickness of the drawn boxes, pixels; 0 takes one that suits the image."""
    hide_labels: bool = Field(False)
    """Draw boxes without class names."""
    hide_conf: bool = Field(False)
    """Draw class names without confidences."""
    save_txt: bool = Field(False)
    """Write labels/*.txt: a line `class x y w h` per detection, as fractions of the image."""
    save_conf: bool = Field(False)
    """Add the confidence to the lines of save_txt."""
    save_format: int = Field(0, ge=0, le=1)
    """Lines of save_txt: 0 for `class x y w h` as fractions of the image, 1 for `class x1 y1 x2 y2` in pixels."""
    save_csv: bool = Field(False)
    """Write predictions.csv: a line per detection, in pixels."""
    save_json: bool = Field(False)
    """Write predictions.json: detections in the style of COCO's result files."""
    save_crop: bool = Field(False)
    """Write an image of every detection to crops/<class>/."""
    visualize: bool = Field(False)
    """Write the feature maps of the layers to features/: 32 of each layer as an image, all of them as .npy."""
    view_img: bool = Field(False)
    """Show the detections in a window; a key shows the next image, q or Esc ends the run."""
    update: bool = Field(False)
    """Write the detector of a checkpoint, without its training state, beside it to <name>_inference.safetensors."""
    project: Path = Field(Path("runs/detect"))
    """Folder of the run folders."""
    name: str = Field("exp", min_length=1)
    """Name of the run folder; a number is added if it is taken."""
    exist_ok: bool = Field(False)
    """Write into the run folder even if it already exists."""

    @field_validator("source", mode="before")
    @classmethod
    def _one_or_several(cls, given: object) -> object:
        several = given if isinstance(given, list | tuple) else [given]
        is_number = [isinstance(item, int) and not isinstance(item, bool) for item in several]
        return [
            str(item) if number or isinstance(item, Path) else item
            for item, number in zip(several, is_number, strict=True)
        ]

    @field_validator("source")
    @classmethod
    def _not_empty(cls, sources: list[str]) -> list[str]:
        if not all(sources):
            raise ValueError("a source is empty")
        return sources

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> DetectSettings:
        if self.save_conf and not self.save_txt:
            raise SettingsError("setting `save_conf` has no effect without `save_txt`", hint="add `--save-txt`")
        if self.nosave and not self.view_img and (self.line_thickness or self.hide_labels or self.hide_conf):
            raise SettingsError("settings for drawing have no effect with `nosave`", hint="drop `--nosave`")
        if self.save_format and not self.save_txt:
            raise SettingsError("setting `save_format` has no effect without `save_txt`", hint="add `--save-txt`")
        if "tile_overlap" in self.model_fields_set and not self.tile:
            raise SettingsError("setting `tile_overlap` has no effect without `tile`", hint="add `--tile 640`")
        return self

    @model_validator(mode="after")
    def _refuse_maps_of_several_passes(self) -> DetectSettings:
        others = {"several `weights`": len(self.weights) > 1, "`augment`": self.augment, "`tile`": self.tile > 0}
        clashing = [name for name, is_set in others.items() if is_set]
        if self.visualize and clashing:
            raise SettingsError(
                f"setting `visualize` shows one pass of one network, not those of {' and '.join(clashing)}",
                hint="drop one of them",
            )
        return self
