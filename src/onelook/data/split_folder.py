"""Dividing a folder of images into train, val and test lists, the same way on every machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from onelook.data.dataset_spec import SPLITS
from onelook.data.formats.yolo import label_path_of
from onelook.data.image_files import images_in_folder
from onelook.data.split_assignment import by_hash
from onelook.errors import DataError
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import printable


def autosplit(
    images_folder: Path,
    *,
    output_folder: Path,
    fractions: Sequence[float] = (0.9, 0.1, 0.0),
    seed: int = 0,
    annotated_only: bool = False,
) -> dict[str, Path]:
    """Write `autosplit_train.txt`, `autosplit_val.txt` and `autosplit_test.txt`: one image path per line.

    Where an image goes depends on its name below `images_folder` and the seed alone (SHA-256 of both, taken as a
    number from 0 to 1), so adding images moves no other. Sizes therefore match `fractions` only on average.

    Args:
        images_folder: searched at all depths; never written to unless it is the `output_folder` too.
        output_folder: where the lists go; made if need be. Lines start with `./` if it holds the images, and are
            absolute otherwise.
        fractions: parts of train, val and test, sum 1; a part of 0 gets no list.
        seed: another seed, another split.
        annotated_only: leave out images without a label file.

    Returns:
        Split name -> list file.

    Raises:
        DataError: the folder has no images, a list exists already, the fractions do not add up, or a file name
            cannot be written in a list.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"fractions {tuple(fractions)} must be three parts of train, val and test that add up to 1")
    images_folder, output_folder = Path(os.path.abspath(images_folder)), Path(os.path.abspath(output_folder))  # noqa: PTH100
    if not images_folder.is_dir():
        raise DataError(f"`{printable(images_folder)}` is not a folder")
    images = [Path(name) for name in images_in_folder(images_folder)[0]]
    if annotated_only:
        images = [image for image in images if Path(label_path_of(str(image))).is_file()]
    if not images:
        raise DataError(f"folder `{printable(images_folder)}` has no {'annotated ' if annotated_only else ''}images")
    lists = {
        split: output_folder / f"autosplit_{split}.txt" for split, part in zip(SPLITS, fractions, strict=True) if part
    }
    for path in lists.values():
        if path.exists():
            raise DataError(f"list `{printable(path)}` exists already", hint="remove it, or give another output folder")
    lines: dict[str, list[bytes]] = {split: [] for split in lists}
    parts = by_hash([image.relative_to(images_folder).as_posix() for image in images], fractions, seed)
    for image, part in zip(images, parts.tolist(), strict=True):
        lines[SPLITS[part]].append(list_line(image, output_folder))
    output_folder.mkdir(parents=True, exist_ok=True)
    for split, path in lists.items():
        write_bytes_atomic(path, b"".join(lines[split]))
    return lists


def list_line(image: Path, base: Path, *, mark: str = "./") -> bytes:
    """The line of a list that names an image: counted from `base`, after `mark`, where it lies below, else absolute.

    Raises:
        DataError: its name has a line break.
    """
    line = os.fsencode(f"{mark}{image.relative_to(base).as_posix()}" if image.is_relative_to(base) else image)
    if b"\n" in line or b"\r" in line:
        raise DataError(f"image `{printable(image)}` has a line break in its name and cannot be written in a list")
    return line + b"\n"
