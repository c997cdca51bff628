"""Every option of a look into a file of weights. The text under each field is `--help`, reference page and comment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from onelook.settings.strict_settings import StrictSettings
from onelook.settings.train import IMGSZ_ALIASES, MAX_IMGSZ


class InfoSettings(StrictSettings):
    """All settings of `onelook info`."""

    weights: Path
    """File to inspect: a checkpoint of Onelook or YOLOv5, or what `onelook export` wrote."""
    imgsz: int = Field(640, ge=32, le=MAX_IMGSZ, multiple_of=32, json_schema_extra=IMGSZ_ALIASES)
    """Image side for which operations are counted, pixels."""
    rows: bool = Field(False)
    """Also list the rows of the layer table."""
