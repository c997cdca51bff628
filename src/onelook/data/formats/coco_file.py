"""COCO's JSON file, one for all images of a split. Images and categories must be right; annotations are judged alone.

The file may have gigabytes, mostly polygons: annotations are made compact as they are parsed, and a very large file is
read in pieces.
"""

from __future__ import annotations

import functools
import json
import os
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onelook.data.formats.listing import MAX_SIDE, json_faults
from onelook.data.formats.object_rows import shown
from onelook.errors import DataError, combined
from onelook.files.bounded import StrPath, pieces_of, printable, read_bounded
from onelook.files.json_stream import parse_lists
from onelook.files.states import file_states

MAX_BYTES = 1 << 33
# Up to this size a file is read at once, which is faster by a quarter.
WHOLE_BYTES = 1 << 30
_WHOLE = re.compile("0|[1-9][0-9]{0,18}")
_LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An entry of `images`; `size_hw` is (0, 0) if the file does not say."""

    id: int | str
    file_name: str
    size_hw: tuple[int, int]


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """An entry of `annotations` as it stands: anything may be in it.

    Attributes:
        bbox: a tuple of four floats if they are numbers, else what is there.
        segmentation: the numbers of a polygon of one part, else what is there.
    """

    id: Any
    image_id: Any
    category_id: Any
    bbox: Any
    segmentation: Any
    is_crowd: bool


@dataclass(frozen=True)
class CocoFile:
    """What a COCO file says, but for its annotations.

    Attributes:
        images: images in the order of the file; ids are unique.
        categories: id -> name, by ascending id.
    """

    path: str
    images: tuple[CocoImage, ...]
    categories: Mapping[int, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by ascending category id; categories of one name are one class."""
        return tuple(dict.fromkeys(self.categories.values()))


def read_coco_file(path: StrPath) -> CocoFile:
    """Images and categories of a COCO file, cached until the file changes.

    Raises:
        DataError: the file cannot be read, is not a COCO file, or an image or category is wrong or given twice.
    """
    return _remembered(os.fspath(path), *file_states([os.fspath(path)])[0].tolist())


def read_annotations(path: StrPath) -> list[CocoAnnotation | Any]:
    """The entries of `annotations`; those that are not annotations at all are returned as they are.

    Raises:
        DataError: the file cannot be read or is no COCO file.
    """
    content = _content(os.fspath(path), lambda entry: _compact(entry) if "image_id" in entry else entry)
    annotations: list[CocoAnnotation | Any] = content["annotations"]
    return annotations


@functools.lru_cache(maxsize=4)
def _remembered(path: str, *_state: int) -> CocoFile:
    """As `read_coco_file`; size and times of the file tell its states apart."""
    content = _content(path, lambda entry: None if "image_id" in entry else entry)
    problems: list[str] = []
    images = _images(content["images"], problems)
    categories = _categories(content["categories"], problems)
    if problems:
        raise combined(DataError, f"COCO file `{printable(path)}`:", problems)
    return CocoFile(path, tuple(images), categories)


def _content(path: str, compact: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    where = f"COCO file `{printable(path)}`"
    with json_faults(where, of_kind=" for a COCO file"):
        if file_states([path])[0, 0] <= WHOLE_BYTES:
            content = json.loads(read_bounded(path, WHOLE_BYTES).decode("utf-8-sig"), object_hook=compact)
        else:
            content = parse_lists(pieces_of(path, MAX_BYTES), json.JSONDecoder(object_hook=compact))
    missing = [key for key in _LISTS if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        found = f"the keys {', '.join(map(shown, list(content)[:10]))}" if isinstance(content, dict) else shown(content)
        raise DataError(
            f"{where} has no list {', '.join(f'`{key}`' for key in missing)}; found {found}",
            hint="a COCO file of instances is an object with the lists images, annotations and categories",
        )
    return content  # type: ignore[no-any-return]


def _compact(entry: dict[str, Any]) -> CocoAnnotation:
    return CocoAnnotation(
        id=entry.get("id"),
        image_id=entry["image_id"],
        category_id=entry.get("category_id"),
        bbox=_as_box(entry.get("bbox")),
        segmentation=_as_polygon(entry.get("segmentation")),
        is_crowd=entry.get("iscrowd") not in (None, 0, False),
    )


def _as_box(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 4 and all(type(side) in (int, float) for side in value):
        return tuple(map(_as_float, value))
    return value


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf")


def _as_polygon(value: Any) -> Any:
    """A polygon of one part as an array, which takes a quarter of the memory."""
    if not (isinstance(value, list) and len(value) == 1 and isinstance(value[0], list)):
        return value
    try:
        return array("d", value[0])
    except (TypeError, OverflowError):
        return value


def _images(entries: Sequence[Any], problems: list[str]) -> list[CocoImage]:
    images: list[CocoImage] = []
    seen: set[int | str] = set()
    for number, entry in enumerate(entries):
        try:
            image = _image(entry)
        except ValueError as problem:
            problems.append(f"images[{number}]: {problem}")
            continue
        if image.id in seen:
            problems.append(f"images[{number}]: the id {shown(image.id)} is given twice")
        seen.add(image.id)
        images.append(image)
    return images


def _image(entry: Any) -> CocoImage:
    """An image from its entry; ValueError says what is wrong with it."""
    if not isinstance(entry, dict):
        raise ValueError(f"{shown(entry)} is not an image")
    id_, name = whole_id(entry.get("id")), entry.get("file_name", _name_in_coco(entry.get("coco_url")))
    if not isinstance(id_, (int, str)) or isinstance(id_, bool):
        raise ValueError(f"the id {shown(id_)} is neither a whole number nor text")
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"`file_name` is {shown(name)}, not the name of a file")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ValueError(f"`file_name` is {shown(name)}, which is not valid text") from None
    sides = [side for side in (entry.get("height"), entry.get("width")) if type(side) is int and 0 < side <= MAX_SIDE]
    return CocoImage(id_, name, (sides[0], sides[1]) if len(sides) == 2 else (0, 0))


def whole_id(value: Any) -> Any:
    """An id as a whole number where it is one, also written as text or with a point; else as it stands.

    >>> whole_id("7"), whole_id(7.0), whole_id("007"), whole_id("a")
    (7, 7, '007', 'a')
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return value


def _name_in_coco(address: Any) -> str | None:
    """Folder and name of an image of COCO from its address, which is all that LVIS gives.

    >>> _name_in_coco("http://images.cocodataset.org/val2017/000000397133.jpg")
    'val2017/000000397133.jpg'
    """
    return "/".join(address.split("/")[-2:]) if isinstance(address, str) and address.count("/") > 3 else None


def _categories(entries: Sequence[Any], problems: list[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, entry in enumerate(entries):
        id_, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        id_ = whole_id(id_)
        if type(id_) is not int:
            problems.append(f"categories[{number}]: the id {shown(id_)} is not a whole number")
        elif not isinstance(name, str) or not name.strip():
            problems.append(f"categories[{number}]: the name {shown(name)} is not text")
        elif id_ in names:
            problems.append(f"categories[{number}]: the id {id_} is given twice")
        else:
            names[id_] = name
    return {id_: names[id_] for id_ in sorted(names)}
