"""The images of Parquet files and the labels of each.

The images are unpacked once, each as it is, into the cache folder: from there they are read like those of any other
dataset, in any order. The Parquet files are only read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, Lazy, SizeHw, one_by_one
from onelook.data.formats.listing import MAX_SIDE
from onelook.data.formats.object_rows import RowCollector, frame_of, shown
from onelook.data.formats.parquet_file import (
    BOX_FIELDS,
    CLASS_FIELDS,
    CROWD_FIELDS,
    ParquetFile,
    images_of,
    objects_of,
    parquet_files,
    read_parquet_file,
)
from onelook.data.formats.row_rules import RefusedRow
from onelook.errors import DataError, counted
from onelook.files.atomic import new_folder, write_new
from onelook.files.bounded import printable
from onelook.files.cache_folder import default_cache_folder
from onelook.files.states import file_states

FOLDER = "parquet"
_SUFFIX_OF = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"RIFF": ".webp",
    b"BM": ".bmp",
    b"II": ".tif",
    b"MM": ".tif",
}
_MAX_BYTES = 1 << 40
_MARGIN = 1.1


def open_parquet(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images of the Parquet files of a split, unpacked, and the reader of their objects.

    Raises:
        DataError: the split is not described, a file cannot be read, or the cache folder has too little room.
    """
    spec.require(split)
    files = [read_parquet_file(path) for path in parquet_files(spec.splits[split])]
    unpacked = [path for file in files for path in _unpacked(file)]
    if not unpacked:
        raise DataError(f"split `{split}` of `{printable(spec.path)}` has no images: its Parquet files have no rows")
    rows = [(number, row) for number, file in enumerate(files) for row in range(file.num_rows)]
    objects = Lazy(lambda: [found for file in files for found in objects_of(file)])
    class_of_name = spec.class_of_name(single_cls)

    def read(number: int, size_hw: SizeHw) -> LabelRows:
        file, row = rows[number]
        return parquet_rows(objects()[number], size_hw, class_of_name, place=f"row {row}", names=files[file].names)

    return LabelSource(
        images=unpacked,
        label_files=[files[number].path for number, _ in rows],
        has_labels=np.ones(len(rows), bool),
        files=[*unpacked, *(file.path for file in files)],
        states=file_states([*unpacked, *(file.path for file in files)]),
        rules=spec.rules(single_cls),
        read=one_by_one(read),
        names=[f"{Path(files[number].path).name} {row}" for number, row in rows],
    )


def parquet_rows(
    found: tuple[Any, tuple[Any, Any]],
    size_hw: SizeHw,
    class_of_name: Mapping[str, int] | None,
    *,
    place: str,
    names: Sequence[str],
) -> LabelRows:
    """The rows of an image from its objects as they stand; never raises for what is in them.

    Args:
        found: the objects, and the height and width that the file gives.
        size_hw: height and width of the image, (0, 0) if it cannot be read.
        class_of_name: class name -> class id; None makes all objects class 0.
        names: what the class numbers of the file stand for.
    """
    objects, declared = found
    declared_hw = declared if all(type(side) is int and 0 < side <= MAX_SIDE for side in declared) else (0, 0)
    rows = RowCollector()
    for number, entry in enumerate(_entries(objects)):
        here, value = f"{place} object {number}", partial(shown, entry)
        try:
            class_id = _class_of(_first(entry, CLASS_FIELDS), names, class_of_name)
            if _first(entry, CROWD_FIELDS):
                raise RefusedRow("a crowd region: one box for many objects", "ignored")
            left, top, width, height = _box_of(_first(entry, BOX_FIELDS))
            frame_hw, note = frame_of(declared_hw, size_hw)
        except RefusedRow as problem:
            rows.refuse(here, value, problem)
            continue
        if note:
            rows.note(note, place=place)
        sides = np.array([*frame_hw[::-1]] * 2, np.float64)
        box = np.array([left + width / 2, top + height / 2, width, height]) / sides
        rows.add(here, value, class_id=class_id, box=box, pixels_hw=frame_hw)
    return rows.rows()


def _entries(objects: Any) -> list[dict[str, Any]]:
    """One mapping per object, whether the file keeps a list of objects or lists of their parts."""
    if isinstance(objects, list):
        return [entry if isinstance(entry, dict) else {"": entry} for entry in objects]
    parts = (
        {name: part for name, part in objects.items() if isinstance(part, list)} if isinstance(objects, dict) else {}
    )
    count = max((len(parts[name]) for name in (*BOX_FIELDS, *CLASS_FIELDS) if name in parts), default=0)
    return [{name: part[number] for name, part in parts.items() if number < len(part)} for number in range(count)]


def _first(entry: Mapping[str, Any], fields: Sequence[str]) -> Any:
    return next((entry[name] for name in fields if entry.get(name) is not None), None)


def _box_of(value: Any) -> list[float]:
    if not (isinstance(value, list) and len(value) == 4 and all(type(side) in (int, float) for side in value)):
        raise RefusedRow("`bbox` is not a list of four numbers: left, top, width and height")
    return [float(side) for side in value]


def _class_of(value: Any, names: Sequence[str], class_of_name: Mapping[str, int] | None) -> int:
    """The class id of a class number of the file, or of a name."""
    if not isinstance(value, (int, str)) or isinstance(value, bool):
        raise RefusedRow(f"`category` is {shown(value)}, neither a class number nor a name")
    if class_of_name is None:
        return 0
    if isinstance(value, int) and not names and 0 <= value < len(class_of_name):
        return value
    name = value if isinstance(value, str) else names[value] if 0 <= value < len(names) else None
    if name is None or name not in class_of_name:
        unknown = shown(value if name is None else name)
        raise RefusedRow(
            f"class {unknown} is not among the {counted(len(class_of_name), 'class')}", "unknown class", unknown
        )
    return class_of_name[name]


def _unpacked(file: ParquetFile) -> list[str]:
    """The paths of the images of a file, which are unpacked now unless they have been."""
    size, *times = file_states([file.path])[0].tolist()
    key = hashlib.sha256(os.fsencode(f"{file.path}\0{size}\0{times}\0{file.image}")).hexdigest()[:24]
    folder = default_cache_folder() / FOLDER / key
    if not folder.is_dir():
        _unpack(file, folder, size)
    names = sorted(os.listdir(folder))  # noqa: PTH208 - plain strings: a dataset has many files
    if len(names) != file.num_rows:
        raise DataError(
            f"the cache folder `{printable(folder)}` has {counted(len(names), 'image')} of the {file.num_rows} in "
            f"`{printable(file.path)}`",
            hint="remove it; the images are unpacked again",
        )
    return [f"{folder}{os.sep}{name}" for name in names]


def _unpack(file: ParquetFile, folder: Path, num_bytes: int) -> None:
    """Write every image into a new folder, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if num_bytes * _MARGIN > free:
        raise DataError(
            f"the images of `{printable(file.path)}` need about {num_bytes / 1e9:.2f} GB in the cache folder "
            f"`{printable(folder.parent)}`, and {free / 1e9:.2f} GB are free",
            hint="make room, or set ONELOOK_CACHE to a folder with more",
        )
    try:
        with new_folder(folder) as unfinished:
            for name, content in _named(images_of(file)):
                write_new(unfinished / name, content)
    except OSError:
        if not folder.is_dir():  # else another process was faster
            raise


def _named(images: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """A file name for each image, in their order, with the suffix that its content asks for."""
    for row, content in enumerate(islice(images, 10**9)):
        suffix = next((suffix for start, suffix in _SUFFIX_OF.items() if content.startswith(start)), ".jpg")
        yield f"{row:09}{suffix}", content
