"""Recognises files and folders of annotation tools by their content; only the beginning of a file is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onelook.data.formats.coco_file import read_coco_file
from onelook.data.formats.coco_paths import image_paths
from onelook.data.formats.csv_file import has_header
from onelook.data.formats.listing import Listing
from onelook.data.formats.listing_file import LISTINGS, listed_paths, read_listing
from onelook.data.image_files import IMAGE_SUFFIXES, exists
from onelook.errors import DataError, combined
from onelook.files.bounded import printable, read_bounded

_HEAD_BYTES = 1 << 14
_TRIED = 10
_IMAGE_FOLDERS = ("images", "JPEGImages", "img", "imgs")
_LABEL_FOLDERS = ("annotations", "Annotations", "labels", "xml", "xmls", "json", "jsons")
_SUFFIX_OF = {"voc": ".xml", "labelme": ".json"}


@dataclass(frozen=True)
class AnnotationPaths:
    """Format and absolute paths of labels and images; `annotations` is a file, or a folder of files."""

    format: str
    images: Path
    annotations: Path


def format_of(file: Path) -> str:
    """The format of a label file by its suffix and beginning; empty if it is not one."""
    suffix = file.suffix.lower()
    if suffix not in (".json", ".csv", ".xml"):
        return ""
    try:
        head = read_bounded(file, _HEAD_BYTES, prefix=True).removeprefix(b"\xef\xbb\xbf").lstrip()
    except DataError:
        return ""
    if suffix == ".csv":
        return "csv" if has_header(head.decode("utf-8", "replace")) else ""
    if suffix == ".xml":
        return "cvat" if b"<annotations" in head else "voc" if b"<annotation" in head else ""
    if head.startswith(b"["):
        return "labelstudio"
    is_coco = any(key in head for key in (b'"images"', b'"annotations"', b'"categories"'))
    return "labelme" if b'"shapes"' in head and not is_coco else "coco" if head.startswith(b"{") else ""


def paths_of_file(file: Path, split: str) -> AnnotationPaths:
    """The paths of a dataset in one label file for many images; a folder named like `split` may hold the images.

    Raises:
        DataError: it is not such a file, cannot be used, or none of its first images was found.
    """
    found = format_of(file)
    if found in _SUFFIX_OF:
        raise DataError(
            f"`{printable(file)}` holds the labels of one image", hint="give the folder with all of these files"
        )
    if not found:
        raise DataError(
            f"`{printable(file)}` is not a label file of a known format",
            hint="known are COCO and Label Studio (.json), CVAT (.xml) and CSV with a header",
        )
    return AnnotationPaths(found, _images_of(file, found, split), file)


def paths_in_folder(folder: Path) -> AnnotationPaths | None:
    """What a folder of an annotation tool holds: one file with all labels, or a file for each image.

    Raises:
        DataError: several files could be meant, or the one cannot be used.
    """
    files = [
        file
        for parent in (folder, folder / "annotations")
        if parent.is_dir()
        for file in sorted(parent.iterdir())
        if file.is_file() and format_of(file) in ("coco", *LISTINGS)
    ]
    if len(files) > 1:
        raise DataError(
            f"folder `{printable(folder)}` has {len(files)} files of labels: "
            f"{', '.join(f'`{printable(file.relative_to(folder))}`' for file in files[:5])}",
            hint="give the one you mean",
        )
    if files:
        return paths_of_file(files[0], folder.name)
    for label_format, suffix in _SUFFIX_OF.items():
        for images, labels in _pairs(folder):
            if _first_pair(images, labels, suffix, label_format):
                return AnnotationPaths(label_format, images, labels)
    return None


def _pairs(folder: Path) -> Iterator[tuple[Path, Path]]:
    yield folder, folder
    for images in (folder, *(folder / name for name in _IMAGE_FOLDERS)):
        for labels in (folder, *(folder / name for name in _LABEL_FOLDERS)):
            if images != labels and images.is_dir() and labels.is_dir():
                yield images, labels


def _first_pair(images: Path, labels: Path, suffix: str, label_format: str) -> bool:
    """Whether one of the first label files has an image at the same relative path."""
    tried = 0
    for parent, folders, names in os.walk(labels):
        folders.sort()
        for name in sorted(names):
            if not name.lower().endswith(suffix):
                continue
            tried += 1
            if tried > _TRIED:
                return False
            stem = images / os.path.relpath(parent, labels) / name[: -len(suffix)]
            there = any(Path(f"{stem}{end}").is_file() for known in IMAGE_SUFFIXES for end in (known, known.upper()))
            if there and format_of(Path(parent) / name) == label_format:
                return True
    return False


def _images_of(file: Path, label_format: str, split: str) -> Path:
    """The folder in which one of the first images of a file is found."""
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    part = file.stem.removeprefix("instances_")
    folders = dict.fromkeys(
        [file.parent, *(root / name for name in (part, f"images/{part}", split, f"images/{split}", "images",
                                                 "JPEGImages", "."))]
    )  # fmt: skip
    for folder in folders:
        first = _first_paths(str(folder), file, label_format)
        if any(map(exists, first)):
            return folder
    if not first:
        reasons = read_listing(file, label_format).reasons(3) if label_format in LISTINGS else []
        raise combined(DataError, f"`{printable(file)}` names no image{':' if reasons else ''}", reasons)
    name = printable(os.path.basename(first[0]))  # noqa: PTH119
    raise DataError(
        f"`{printable(file)}`: its first image, `{name}`, was not found; looked in "
        f"{', '.join(f'`{printable(folder)}`' for folder in folders)}",
        hint="put the images there, or give their folder in a dataset YAML",
    )


def _first_paths(folder: str, file: Path, label_format: str) -> Sequence[str]:
    if label_format == "coco":
        return image_paths(folder, [image.file_name for image in read_coco_file(file).images[:_TRIED]])
    return listed_paths(folder, Listing(read_listing(file, label_format).images[:_TRIED]), label_format)
