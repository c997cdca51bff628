"""Every option of the data doctor. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from onelook.files.image_headers import MAX_PIXELS, MOST_PIXELS
from onelook.settings.strict_settings import StrictSettings
from onelook.settings.train import IMGSZ_ALIASES, MAX_IMGSZ


class CheckSettings(StrictSettings):
    """All settings of `onelook check`."""

    data: Path
    """Dataset: a YAML, or a folder or file in a known layout; all its splits are checked."""
    imgsz: int | None = Field(None, ge=32, le=MAX_IMGSZ, json_schema_extra=IMGSZ_ALIASES)
    """Image size of training, pixels: objects too small at this size are reported. If not given, the training size of
    `weights`, or 640."""
    strict: bool = Field(False)
    """Fail if there is any error or warning, so that a script can tell by the exit code."""
    allow_unlabelled: bool = Field(False)
    """Accept that most images have no label file."""
    max_pixels: int = Field(MAX_PIXELS, ge=100, le=MOST_PIXELS)
    """Maximum number of pixels of an image; larger ones are not used. A decoded image takes 3 bytes a pixel."""
    near: int = Field(6, ge=-1, le=7)
    """Maximum number of differing bits, of 64, between hashes of near-duplicates; -1 switches the search off."""
    cfg: str = Field("")
    """Model whose anchors are measured: a shipped name or a YAML file; empty takes yolov5s."""
    weights: str = Field("")
    """Detector trained on these classes: labels that it contradicts are reported, worst first. Empty checks none."""
    suspicions: int = Field(100, ge=1)
    """Maximum number of labels reported because the detector contradicts them, worst first."""
    device: str = Field("")
    """Where the detector runs: cpu or a GPU number; empty takes the first GPU if there is one."""
    output: str = Field("")
    """Folder for the page, its images and the JSON file; empty writes nothing."""
    fix: str = Field("")
    """New folder for a copy in which everything that can be fixed automatically is fixed; empty writes none."""
    exist_ok: bool = Field(False)
    """Write into the folder even if it already exists."""

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> CheckSettings:
        self.refuse_idle("suspicions", "device", without="weights")
        self.refuse_idle("exist_ok", without="output")
        return self
