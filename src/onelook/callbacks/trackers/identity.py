"""The id that a tracker gave to a run, kept in the run folder for when the run is resumed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from onelook.errors import DataError
from onelook.files.atomic import write_text_atomic
from onelook.files.bounded import read_bounded

MAX_LENGTH = 128


def remember_identity(run_folder: Path, tracker: str, identity: str) -> None:
    """Keep the id that `tracker` gave to the run; OSError if the run folder cannot be written."""
    write_text_atomic(_path(run_folder, tracker), identity + "\n")


def recall_identity(run_folder: Path, tracker: str) -> str | None:
    """The id that was kept; None without a valid one: a run folder may come from others."""
    try:
        text = read_bounded(_path(run_folder, tracker), MAX_LENGTH + 2).decode("ascii", "replace").strip()
    except DataError:
        return None
    return text if re.fullmatch(rf"[A-Za-z0-9_-]{{1,{MAX_LENGTH}}}", text) else None


def known_identities(run_folder: Path, trackers: Sequence[str]) -> dict[str, str]:
    """The ids of the run by tracker, as far as they are known by now."""
    found = {tracker: recall_identity(run_folder, tracker) for tracker in trackers}
    return {tracker: identity for tracker, identity in found.items() if identity is not None}


def _path(run_folder: Path, tracker: str) -> Path:
    return run_folder / f"{tracker}_id"
