"""Every option of a download. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from onelook.settings.series import OUTSIDE, resumed
from onelook.settings.strict_settings import StrictSettings


class DownloadSettings(StrictSettings):
    """All settings of `onelook download`."""

    data: str = Field("")
    """YAML with a `download` key; public dataset: coco, coco-val, voc2007, voc2012, visdrone, objects365, lvis; or
    published weights: yolox-nano, yolox-tiny, yolox-s, yolox-m, yolox-l, yolox-x."""
    output: Path = Field(Path("datasets"))
    """Folder in which a public dataset gets a folder of its name, with its YAML; not used with a YAML of yours. Weights
    go to the cache, where `--weights NAME` finds them, unless it is set."""
    no_hash: bool = Field(False, json_schema_extra=resumed(OUTSIDE))
    """Accept archives without size or SHA-256 in the YAML, so that anything may arrive; command line only."""
    keep: bool = Field(False)
    """Keep the archives after they are unpacked."""
