"""Advice for weights that are not on this machine, by name alone: people try names they know."""

from __future__ import annotations

from pathlib import Path

from onelook.errors import CheckpointError
from onelook.files.bounded import printable
from onelook.models.catalog import MODELS
from onelook.models.foreign_names import READ, known_elsewhere


def refuse_known_names(path: Path) -> None:
    """Raise CheckpointError, with advice, if the path is a name known from elsewhere and no file."""
    found = known_elsewhere(path.stem)
    if found is None or len(path.parts) > 1 or path.suffix.lower() not in ("", ".pt", ".pth", ".yaml"):
        return
    generation, ours = found
    instead = f"take weights under Apache-2.0: `onelook download {ours}`, then `--weights {ours}`"
    shown = printable(path)
    if generation not in READ:
        raise CheckpointError(f"weights `{shown}` are of a model that Onelook neither trains nor reads", hint=instead)
    if path.suffix.lower() in (".pt", ".pth"):
        licence = " (the official ones are under AGPL-3.0)" if generation == "v5" else ""
        raise CheckpointError(
            f"weights `{shown}` do not exist",
            hint=f"nothing is downloaded on its own: fetch the file{licence}, or {instead}",
        )
    model = path.stem if path.stem in MODELS else ours
    raise CheckpointError(
        f"weights `{shown}` are not a file; `{model}` is the name of a model",
        hint=f"train it from random weights with `--cfg {model}` instead of `--weights`; or {instead}",
    )
