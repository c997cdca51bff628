"""Keeps commands from writing over the files that they read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from onelook.errors import RunFolderError, SettingsError
from onelook.files.bounded import StrPath, printable


def refuse_inputs_inside(folder: Path, inputs: Iterable[StrPath | None]) -> None:
    """Raise SettingsError if a folder that is to be written into holds anything that is read; it need not exist."""
    target = folder.resolve()
    clear: set[Path] = set()  # parents that do not lie in the folder: a million images have few
    for path in (Path(given) for given in inputs if given):
        if path.parent in clear and not path.is_symlink():
            continue
        if target in path.resolve().parents:
            raise SettingsError(
                f"`{printable(path)}` would be read, and lies in the folder `{printable(folder)}` that is written into",
                hint="choose another `--project` or `--name`, or leave out `--exist-ok`",
            )
        clear.add(path.parent)


def make_folder(folder: Path, *, option: str) -> None:
    """Make a folder that is to be written into, and those around it; RunFolderError naming `option` if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise RunFolderError(
            f"folder `{printable(folder)}` cannot be made: {problem.strerror or problem}",
            hint=f"choose another `{option}`",
        ) from problem


def refuse_to_replace(target: Path, inputs: Iterable[StrPath]) -> None:
    """Raise SettingsError if a file that is to be written is one that is read."""
    output = target.resolve()
    if any(Path(given).resolve() == output for given in inputs):
        raise SettingsError(f"`{printable(target)}` is read, so it cannot be written", hint="choose another place")
