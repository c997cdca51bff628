"""Every option of a report. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ReportSettings(BaseModel):
    """All settings of `onelook report`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    runs: list[Path] = Field(min_length=1, max_length=50)
    """Folders of runs; several are compared with each other, and the settings of others with those of the first."""
    out: str = Field("")
    """File to write; empty takes report.html, for several runs comparison.html, in the folder of the first."""
