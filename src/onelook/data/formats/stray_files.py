"""Files of a split that would go unnoticed: label files without an image, or with nearly its name; unread images."""

from __future__ import annotations

import functools
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from onelook.data.image_files import IMAGE_SUFFIXES, UNREAD_SUFFIXES, suffix_of
from onelook.errors import DataError
from onelook.files.bounded import printable, read_bounded
from onelook.files.fault_kinds import Remark

_HEAD_BYTES = 1 << 12
# The beginning of a row of a label file: five columns or more, the first of them a number.
_ROW = re.compile(rb"\s*[+-]?[0-9.]+(?:[\s,]+[^\s,]+){4}")


@dataclass(frozen=True)
class StrayFile:
    """A file that says something about a split and is not used, or is used in an unusual way."""

    file: str
    remark: Remark
    is_used: bool = False


def pair_labels(
    images: Sequence[str], label_files: Sequence[str], has_labels: Sequence[bool], *, roots: Sequence[tuple[str, str]]
) -> tuple[Sequence[str], Mapping[int, Remark], list[StrayFile]]:
    """Look through the folders of label files for those that belong to no image of the split.

    A label file whose name differs from that of an image without labels in upper and lower case alone is taken for its
    label file, as on other systems; if there are several, the image is refused.

    Args:
        label_files: expected label file of each image; all with one suffix.
        roots: pairs of a folder of images and the folder of their label files, searched at all depths.

    Returns:
        The label file of each image, existing or not; why one is ambiguous, by number of image; remarks on files.
    """
    strays = list(_shared(images, label_files, has_labels))
    pairs = zip(images, label_files, strict=True)
    folders = {os.path.dirname(label): os.path.dirname(image) for image, label in pairs}  # noqa: PTH120 - plain strings
    suffix = suffix_of(label_files[0]) if label_files else ""
    used = {label for label, is_there in zip(label_files, has_labels, strict=True) if is_there}
    left = [path for path in _label_files_below(folders, roots, suffix) if path not in used]
    if not left:
        return label_files, {}, strays
    stems_in = functools.cache(_stems_in)

    def has_image(label_file: str) -> bool:
        """Whether an image is beside it, of this split or not, read or not."""
        folder, name = os.path.split(label_file)
        moved = (
            image_root + folder[len(label_root) :]
            for image_root, label_root in roots
            if f"{folder}{os.sep}".startswith(f"{label_root}{os.sep}")
        )
        stem = os.path.splitext(name)[0]  # noqa: PTH122
        return any(stem in stems_in(place) for place in (folders.get(folder, folder), *moved))

    near: dict[str, list[str]] = defaultdict(list)
    for path in left:
        near[path.lower()].append(path)
    chosen, refused, taken = list(label_files), {}, set()
    rivals: dict[str, list[int]] = defaultdict(list)
    for number, is_there in enumerate(has_labels):
        if not is_there and label_files[number].lower() in near:
            rivals[label_files[number].lower()].append(number)
    for key, numbers in rivals.items():
        taken.update(near[key])
        names = ", ".join(f"`{printable(os.path.basename(path))}`" for path in near[key])  # noqa: PTH119
        if len(numbers) == len(near[key]) == 1:
            chosen[numbers[0]] = near[key][0]
            told = f"is used for `{printable(images[numbers[0]])}`, whose name differs in upper and lower case"
            strays.append(StrayFile(near[key][0], Remark(told, "near-label"), is_used=True))
        else:
            refused.update(dict.fromkeys(numbers, Remark(f"its label file is ambiguous: {names}")))
    strays += [
        StrayFile(path, Remark("no image has this name", "lost-label"))
        for path in sorted(left)
        if path not in taken and not has_image(path) and _holds_labels(path)
    ]
    return chosen, refused, strays


def unread_images(paths: Sequence[str]) -> list[StrayFile]:
    """Remarks on images that are not read, because of their format or their name."""
    strays = []
    for path in paths:
        suffix = suffix_of(path)
        told = f"images with the suffix `{printable(suffix)}` are not read"
        if suffix not in UNREAD_SUFFIXES:
            told = "this is an image, but its suffix does not say so"
        strays.append(StrayFile(path, Remark(told, "unread-image")))
    return strays


def _shared(images: Sequence[str], label_files: Sequence[str], has_labels: Sequence[bool]) -> Iterator[StrayFile]:
    if len(set(label_files)) == len(label_files):
        return
    by_label: dict[str, list[str]] = defaultdict(list)
    for image, label, is_there in zip(images, label_files, has_labels, strict=True):
        if is_there:
            by_label[label].append(image)
    for label, sharers in by_label.items():
        for image in sharers[1:]:
            told = f"shares its label file `{printable(label)}` with `{printable(sharers[0])}`"
            yield StrayFile(image, Remark(told, "shared-label"), is_used=True)


def _label_files_below(folders: Mapping[str, str], roots: Sequence[tuple[str, str]], suffix: str) -> Iterator[str]:
    """All files with the suffix, in upper or lower case, in the folders and below the roots."""
    seen: set[str] = set()
    waiting = [*(label_root for _, label_root in roots), *folders]
    whole = tuple(f"{label_root}{os.sep}" for _, label_root in roots)
    label_roots = {label_root for _, label_root in roots}
    while waiting:
        folder = waiting.pop()
        if folder in seen:
            continue
        seen.add(folder)
        is_whole = folder in label_roots or folder.startswith(whole)
        for entry in entries_of(folder):
            if suffix_of(entry.name) == suffix and not entry.name.startswith("."):
                yield entry.path
            elif is_whole and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def _stems_in(image_folder: str) -> set[str]:
    """The names, without suffix, of the images in a folder, read or not."""
    names = (entry.name for entry in entries_of(image_folder))
    known = (name for name in names if suffix_of(name) in IMAGE_SUFFIXES | UNREAD_SUFFIXES)
    return {os.path.splitext(name)[0] for name in known}  # noqa: PTH122


def _holds_labels(path: str) -> bool:
    """Whether a file is empty or begins like a label file; lists of names and the like do not."""
    if suffix_of(path) == ".xml":
        return True
    try:
        head = read_bounded(path, _HEAD_BYTES, prefix=True)
    except DataError:
        return False
    return not head.strip() or _ROW.match(head) is not None


def entries_of(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
