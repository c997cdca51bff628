"""Writes a dataset, images and labels, into a new folder: whole or not at all, the old one only read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from onelook.data.formats.writers import LabelWriter, SplitToWrite
from onelook.data.parallel_map import Work, each
from onelook.errors import DataError, SettingsError
from onelook.files.atomic import new_folder, write_new
from onelook.files.bounded import StrPath, printable
from onelook.files.yaml import dump_yaml

YAML_NAME = "data.yaml"


def require_new_folder(out: Path, image_folders: Iterable[StrPath], *, option: str) -> None:
    """Raise SettingsError if `out`, which the user gives as `option`, already exists, or lies among the images."""
    if os.path.lexists(out):
        raise SettingsError(
            f"`{printable(out)}` already exists", hint=f"choose another `{option}`; nothing is replaced"
        )
    for folder in image_folders:
        if out.is_relative_to(folder):
            raise SettingsError(
                f"`{printable(out)}` lies within `{printable(folder)}`, whose images are copied",
                hint=f"choose another `{option}`, outside the dataset",
            )


@contextmanager
def dataset_copy(
    out: Path,
    parts: Sequence[SplitToWrite],
    names: Sequence[str],
    writer: LabelWriter,
    put: Callable[[str, Path], object],
    work: Work,
) -> Iterator[Path]:
    """The folder with the whole dataset, to which more may be added; it is renamed to `out` at the end.

    Args:
        put: (old path, new path) writes an image.

    Raises:
        DataError: an image is gone, or a name cannot be written.
        OSError: the folder cannot be written.
        StopRequested: `work.stop_requested` said so; nothing is left behind.
    """
    with new_folder(out) as folder:
        for part in parts:
            for inside, content in writer.texts(part, names):
                write_new(folder / inside, content)

            def put_image(number: int, part: SplitToWrite = part) -> None:
                path, target = part.index.paths[number], folder / part.folder / part.inside[number]
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    put(path, target)
                except FileNotFoundError as problem:
                    raise DataError(f"image `{printable(path)}` is no longer there", hint="start again") from problem

            for _ in each(put_image, range(len(part.inside)), work, name="the copy of the dataset"):
                pass
        write_new(folder / YAML_NAME, dump_yaml(writer.description(parts, names)).encode())
        yield folder
