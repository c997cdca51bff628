"""Every option of `onelook anchors`. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from onelook.errors import SettingsError
from onelook.settings.hyperparameters import ANCHOR_T
from onelook.settings.strict_settings import StrictSettings
from onelook.settings.train import IMGSZ_ALIASES, MAX_IMGSZ


class AnchorSettings(StrictSettings):
    """All settings of `onelook anchors`."""

    data: Path
    """Dataset: a YAML, or a folder or file in a known layout; its training labels are used."""
    cfg: str = Field("")
    """Model whose anchors are measured: a shipped name or a YAML file; empty takes that of the weights, or yolov5s."""
    weights: str = Field("")
    """Checkpoint (.safetensors or .pt) whose anchors are measured, instead of those of a model definition."""
    imgsz: int = Field(640, ge=32, le=MAX_IMGSZ, json_schema_extra=IMGSZ_ALIASES)
    """Size of the training images, pixels; anchors suit labels at one size."""
    anchor_t: float = Field(ANCHOR_T, gt=1)
    """An anchor is matched to a label if no side differs by more than this factor."""
    num: int = Field(0, ge=0, le=20)
    """New anchors per output map; 0 looks for as many as the model has."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Random seed: the same seed, data and settings give the same anchors."""
    output: Path = Field(Path("runs/anchors"))
    """Where the image goes: a .png or .jpg file, or a folder."""

    @model_validator(mode="after")
    def _refuse_two_models(self) -> AnchorSettings:
        if self.cfg and self.weights:
            raise SettingsError(
                f"`cfg` is `{self.cfg}` and `weights` is `{self.weights}`, but only one model is measured",
                hint="drop `--weights`: training with both takes the anchors of `--cfg`",
            )
        return self
