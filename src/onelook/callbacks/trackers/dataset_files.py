"""The dataset of a run as files in YOLO layout, whatever format it was read from; nothing is written here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from onelook.data.formats.writers import yolo_rows
from onelook.files.yaml import dump_yaml
from onelook.structures.dataset_index import DatasetIndex
from onelook.training.callback import FitStart


def dataset_name(run: FitStart) -> str:
    """A name for the dataset: that of its YAML, reduced to letters, digits, `-`, `_` and `.`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", run.settings.data.stem) or "data"


def dataset_images(run: FitStart, splits: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Name in the copy, such as `images/train/7.jpg`, and file of each image of `splits`."""
    for split in splits:
        for path, inside in _names(run.indexes[split]).items():
            yield f"images/{split}/{inside}", Path(path)


def dataset_texts(run: FitStart, splits: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and content of the label files of `splits`, with the rows that the run uses, and of `data.yaml`."""
    for split in splits:
        index = run.indexes[split]
        labels = {  # images that differ in their extension only share a label file
            Path(inside).with_suffix(".txt").as_posix(): image for image, inside in enumerate(_names(index).values())
        }
        for name, image in labels.items():
            yield f"labels/{split}/{name}", yolo_rows(index, image)
    folders = {split: f"images/{split}" for split in splits}
    yield "data.yaml", dump_yaml({"path": ".", **folders, "names": list(run.names)})


def _names(index: DatasetIndex) -> dict[str, str]:
    """Absolute path of each image, and its path below the folder that all images have in common."""
    paths = [str(Path(path).absolute()) for path in index.paths]
    common = os.path.commonpath([str(Path(path).parent) for path in paths])
    return {path: Path(path).relative_to(common).as_posix() for path in paths}
