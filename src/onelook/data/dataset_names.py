"""What the classes of a dataset are called: the names in its YAML, or those that its annotations use."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onelook.data.formats import labelme_file, voc_file
from onelook.data.formats.coco_file import read_coco_file
from onelook.data.formats.listing import ListedImage, used_names
from onelook.data.formats.listing_file import LISTINGS, read_listing
from onelook.data.formats.parquet_file import parquet_files, read_parquet_file
from onelook.data.formats.row_rules import RefusedRow
from onelook.data.formats.visdrone_file import NAMES
from onelook.errors import DataError, combined, counted
from onelook.files.bounded import has_controls, printable, read_bounded

logger = logging.getLogger(__name__)

MAX_CLASSES = 100_000
SHOWN = 80

Labels = Mapping[str, Sequence[Path]]  # split -> files or folders


def names_of(content: Mapping[str, Any], path: Path, *, label_format: str, labels: Labels) -> tuple[str, ...]:
    """The class names of a dataset: those of its YAML, else those of its annotations.

    Raises:
        DataError: no name, or names that are no text, doubled, have gaps or do not fit `nc`.
    """
    if content.get("names") is None and content.get("nc") is None and label_format in _OF_LABELS:
        return names_in_labels(labels, label_format)
    return _names_in_yaml(content, path)


def names_in_labels(labels: Labels, label_format: str) -> tuple[str, ...]:
    """The class names that the labels themselves give, of any format but YOLO.

    Raises:
        DataError: they give none, or cannot be read.
    """
    names = _OF_LABELS[label_format](labels)
    _refuse_controls(names, "labels")
    return names


def _names_in_coco(labels: Labels) -> tuple[str, ...]:
    """The categories of the first of the COCO files, by ascending id; those of other files are found by name."""
    path = next(iter(labels.values()))[0]
    file = read_coco_file(path)
    if not file.categories:
        raise DataError(f"COCO file `{printable(path)}` has no categories", hint="give the `names` in a dataset YAML")
    doubled = [name for name, times in Counter(file.categories.values()).items() if times > 1]
    if doubled:
        logger.warning(
            "COCO file `%s`: several categories are called %s; those of one name are one class",
            printable(path), ", ".join(f"`{printable(name)}`" for name in doubled),
        )  # fmt: skip
    return file.names


def _names_in_listing(labels: Labels, label_format: str) -> tuple[str, ...]:
    """The classes that the file of the first split declares, or those in use in alphabetical order."""
    path = next(iter(labels.values()))[0]
    listing = read_listing(path, label_format)
    if not listing.class_names:
        reasons = listing.reasons(3)
        told = f"`{printable(path)}` has no object with a class{':' if reasons else ''}"
        raise combined(DataError, told, reasons, hint="give the `names` in a dataset YAML")
    return listing.class_names


def _names_in_files(
    labels: Labels, suffix: str, parse: Callable[[bytes], ListedImage], max_bytes: int, what: str
) -> tuple[str, ...]:
    """The classes of all objects in the files of all splits, in alphabetical order."""
    names: set[str] = set()
    problems: list[str] = []
    num_files = 0
    folders = list(dict.fromkeys(path for paths in labels.values() for path in paths))
    for folder in folders:
        for path in sorted(folder.rglob(f"*{suffix}")):
            num_files += 1
            try:
                names.update(used_names([parse(read_bounded(path, max_bytes))]))
            except (DataError, RefusedRow) as problem:
                logger.debug("no class names from `%s`: %s", printable(path), problem)
                problems.append(f"`{printable(path)}`: {problem}")
    found = tuple(sorted(names))
    kind = suffix[1:].upper()
    if not found:
        listed = ", ".join(f"`{printable(folder)}`" for folder in folders)
        told = f"the {kind} files below {listed} have no object with a name"
        if problems:
            told = f"{told}; {len(problems)} of {num_files} cannot be read:"
            raise combined(DataError, told, problems[:3], hint="correct these, or name the classes in a dataset YAML")
        raise DataError(told, hint=f"are they {what}?")
    logger.info("the classes are those that the %s files use: %s", kind, ", ".join(map(printable, found[:20])))
    return found


def _names_in_parquet(labels: Labels) -> tuple[str, ...]:
    """The names that the first of the Parquet files gives for its class numbers."""
    path = parquet_files(next(iter(labels.values())))[0]
    names = read_parquet_file(path).names
    if not names:
        raise DataError(f"Parquet file `{printable(path)}` has no class names", hint="give the `names` in a YAML")
    return names


def _names_in_yaml(content: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    where = f"dataset file `{printable(path)}`"
    names, nc = content.get("names"), content.get("nc")
    if nc is not None and (not isinstance(nc, int) or isinstance(nc, bool) or nc < 1):
        raise DataError(f"{where}: `nc` is {nc!r}, not a number of classes")
    if nc is not None and nc > MAX_CLASSES:
        raise DataError(f"{where}: `nc` is {nc}, more than the limit of {MAX_CLASSES} classes", hint="is this a typo?")
    if names is None and nc is not None:
        logger.warning("%s has no `names`; the classes are called class0 to class%d", where, nc - 1)
        return tuple(f"class{number}" for number in range(nc))
    if isinstance(names, list) and names and all(isinstance(entry, dict) for entry in names):
        names = _names_of_entries(names)
    if isinstance(names, dict):
        names = _names_in_order(names, where)
    if not isinstance(names, list) or not names:
        raise DataError(f"{where}: `names` is {names!r}", hint="write `names: [cat, dog]`, in the order of class ids")
    bad = [f"{class_id}: {name!r}" for class_id, name in enumerate(names) if not _is_name(name)]
    if bad:
        raise DataError(
            f"{where}: these class names are not text: {', '.join(bad)}",
            hint="YAML reads yes, no, on, off and null as something else; write such names in quotes",
        )
    texts = tuple(str(name) for name in names)
    _refuse_controls(texts, where)
    doubled = [name for name, times in Counter(texts).items() if times > 1]
    if doubled:
        ids = "; ".join(
            f"`{name}`: ids {', '.join(str(i) for i, n in enumerate(texts) if n == name)}" for name in doubled
        )
        raise DataError(f"{where}: class names are given twice: {ids}")
    if nc is not None and nc != len(texts):
        raise DataError(
            f"{where}: `nc` is {nc}, but `names` has {counted(len(texts), 'class')}, ids 0 to {len(texts) - 1}",
            hint="drop `nc`; it is not needed",
        )
    return texts


def _refuse_controls(names: Sequence[str], where: str) -> None:
    bad = [f"{class_id}: {ascii(name)[:SHOWN]}" for class_id, name in enumerate(names) if has_controls(name)]
    if bad:
        raise combined(
            DataError, f"{where}: class names hold control characters:", bad, hint="a name is one line of plain text"
        )


def _names_of_entries(entries: list[dict[Any, Any]]) -> list[Any] | dict[Any, Any]:
    """What a list of mappings means: `- 0: cat`, `- {id: 0, name: cat}` or `- name: cat`; else the list itself."""
    if all("name" in entry for entry in entries):
        if all("id" in entry for entry in entries):
            ids = [entry["id"] for entry in entries]
            return {entry["id"]: entry["name"] for entry in entries} if len({*map(repr, ids)}) == len(ids) else entries
        return [entry["name"] for entry in entries]
    pairs = [pair for entry in entries for pair in entry.items()]
    is_plain = all(len(entry) == 1 for entry in entries) and len({*map(repr, dict(pairs))}) == len(pairs)
    return dict(pairs) if is_plain else entries


def _names_in_order(names: Mapping[Any, Any], where: str) -> list[Any]:
    strange = [key for key in names if not isinstance(key, int) or isinstance(key, bool)]
    if strange:
        raise DataError(f"{where}: class ids in `names` must be whole numbers; found {', '.join(map(repr, strange))}")
    wanted = set(range(len(names)))
    missing, beyond = (", ".join(map(str, sorted(ids))) for ids in (wanted - set(names), set(names) - wanted))
    if missing:
        raise DataError(
            f"{where}: class ids in `names` must run from 0 to {len(names) - 1}; missing {missing}, "
            f"beyond the end {beyond}"
        )
    return [names[class_id] for class_id in range(len(names))]


def _is_name(value: object) -> bool:
    return (isinstance(value, str) and bool(value.strip())) or type(value) in (int, float)


_OF_LABELS: dict[str, Callable[[Labels], tuple[str, ...]]] = {
    "coco": _names_in_coco,
    "voc": lambda labels: _names_in_files(labels, ".xml", voc_file.parse_voc, voc_file.MAX_BYTES, "VOC annotations"),
    "parquet": _names_in_parquet,
    "visdrone": lambda labels: NAMES,
    "labelme": lambda labels: _names_in_files(
        labels, ".json", labelme_file.parse_labelme, labelme_file.MAX_BYTES, "files of LabelMe"
    ),
    **{name: functools.partial(_names_in_listing, label_format=name) for name in LISTINGS},
}
