"""Every option of a report. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from onelook.errors import SettingsError
from onelook.settings.strict_settings import StrictSettings

PORT = 8008


class ReportSettings(StrictSettings):
    """All settings of `onelook report`."""

    runs: list[Path] = Field(min_length=1, max_length=50)
    """Folders of runs; several are compared with each other, and the settings of others with those of the first."""
    out: str = Field("")
    """File to write; empty takes report.html, for several runs comparison.html, in the folder of the first."""
    watch: bool = Field(False)
    """Follow a run that is training: serve the page to this machine alone, and write nothing, until the run ends."""
    port: int = Field(PORT, ge=0, le=65535)
    """Where `watch` serves; 0 takes a free one."""

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> ReportSettings:
        self.refuse_idle("port", without="watch")
        if self.watch and len(self.runs) > 1:
            raise SettingsError(f"`watch` follows one run, not {len(self.runs)}", hint="start one command for each")
        if self.watch and self.out:
            raise SettingsError("setting `out` has no effect with `watch`, which writes nothing")
        return self
