"""Parquet files as Hugging Face's `datasets` writes them: images as bytes in a column, objects in another.

Nothing outside this file knows pyarrow, which is an extra.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.data.formats.object_rows import shown
from onelook.errors import DataError
from onelook.files.bounded import printable

ROWS_AT_ONCE = 64
MAX_NAMES = 100_000
IMAGE_COLUMNS = ("image", "img")
OBJECT_COLUMNS = ("objects", "annotations", "labels")
BOX_FIELDS = ("bbox", "bboxes", "boxes")
CLASS_FIELDS = ("category", "categories", "label", "labels", "category_id")
CROWD_FIELDS = ("iscrowd", "is_crowd")
SIZE_COLUMNS = ("height", "width")


@dataclass(frozen=True)
class ParquetFile:
    """Where things are in a file.

    Attributes:
        num_rows: number of rows, one per image.
        has_size: whether there are columns with the height and width of the images.
        names: class names; empty if the file does not give them.
    """

    path: str
    num_rows: int
    image: str
    objects: str
    has_size: bool
    names: tuple[str, ...]


def parquet_files(entries: Sequence[Path]) -> list[str]:
    """The files that the entries of a split name, patterns resolved; sorted, each once.

    Raises:
        DataError: an entry names no file.
    """
    found: set[str] = set()
    for entry in entries:
        paths = [str(entry)] if entry.is_file() else glob.glob(str(entry))  # noqa: PTH207 - absolute patterns
        if not paths:
            raise DataError(f"Parquet file `{printable(entry)}` does not exist")
        found.update(paths)
    return sorted(found)


def read_parquet_file(path: str) -> ParquetFile:
    """What a file says of itself.

    Raises:
        DataError: pyarrow is not installed, the file cannot be read, or has no images or no objects.
    """
    with _opened(path) as file:
        schema = file.schema_arrow
        features = _features(schema.metadata)
        image = next((name for name in schema.names if _is_image(name, features)), None)
        objects = next((name for name in OBJECT_COLUMNS if name in schema.names), None)
        if image is None or objects is None:
            raise DataError(
                f"Parquet file `{printable(path)}` has no column of {'images' if image is None else 'objects'}; "
                f"it has {shown(', '.join(schema.names))}",
                hint="images are looked for in `image`, objects with `bbox` and `category` in `objects`",
            )
        has_size = all(side in schema.names for side in SIZE_COLUMNS)
        names = _class_names(features.get(objects))
        return ParquetFile(path, file.metadata.num_rows, image, objects, has_size, names)


def images_of(file: ParquetFile) -> Iterator[bytes]:
    """The bytes of the image of each row; none where there is no image; DataError if the file is damaged."""
    for value in _rows(file.path, [file.image]):
        image = value[file.image]
        content = image.get("bytes") if isinstance(image, dict) else image
        yield content if isinstance(content, bytes) else b""


def objects_of(file: ParquetFile) -> Iterator[tuple[Any, tuple[Any, Any]]]:
    """The objects of each row as they stand, and the height and width that the file gives, None if it does not.

    Raises:
        DataError: the file is damaged.
    """
    sizes = list(SIZE_COLUMNS) if file.has_size else []
    for value in _rows(file.path, [file.objects, *sizes]):
        yield value[file.objects], (value.get("height"), value.get("width"))


def _rows(path: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    with _opened(path) as file:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns, use_threads=False):
            yield from batch.to_pylist()


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as problem:
        raise DataError(
            f"`{printable(path)}` is a Parquet file, and pyarrow is not installed",
            hint='pip install "onelook[parquet]"',
        ) from problem
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as problem:
        raise DataError(f"Parquet file `{printable(path)}` cannot be read: {shown(str(problem))}") from problem


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What `datasets` notes about the columns; empty if the file is not from there."""
    try:
        noted: Any = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        features = noted["info"]["features"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _is_image(name: str, features: Mapping[str, Any]) -> bool:
    feature = features.get(name)
    if isinstance(feature, dict) and "_type" in feature:
        return bool(feature["_type"] == "Image")
    return name in IMAGE_COLUMNS


def _class_names(feature: Any) -> tuple[str, ...]:
    """The names of the first `ClassLabel` within a feature."""
    waiting, looked_at = [feature], 0
    while waiting and looked_at < MAX_NAMES:
        looked_at += 1
        found = waiting.pop(0)
        if isinstance(found, list):
            waiting += found[:10]
        if not isinstance(found, dict):
            continue
        names = found.get("names")
        if isinstance(names, list) and names and all(isinstance(name, str) and name.strip() for name in names):
            return tuple(names)
        waiting += found.values()
    return ()
