"""The image files in a folder or in a list, in a fixed order; images are not opened."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from onelook.data.path_readings import moved_files, parts_of
from onelook.errors import DataError
from onelook.files.bounded import StrPath, printable, read_bounded
from onelook.files.image_headers import DamagedImage, ShortOfBytes, read_header
from onelook.files.images import KIND_OF_SUFFIX

logger = logging.getLogger(__name__)

# Suffixes that name an image; dng and pfm are listed so that the scan can say why it refuses them.
IMAGE_SUFFIXES = frozenset(KIND_OF_SUFFIX) | {".dng", ".pfm"}
# Suffixes of images that are not read.
UNREAD_SUFFIXES = frozenset(
    {".arw", ".avif", ".cr2", ".cr3", ".exr", ".gif", ".hdr", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jxl", ".nef",
     ".pbm", ".pgm", ".pnm", ".ppm", ".psd", ".raw", ".rw2", ".svg", ".tga"}
)  # fmt: skip
# Suffixes of files that usually lie beside images; other files are opened to see whether they are images.
_OTHER_SUFFIXES = frozenset(
    {".cache", ".csv", ".db", ".html", ".ini", ".ipynb", ".json", ".log", ".md", ".names", ".npy", ".npz", ".parquet",
     ".pdf", ".py", ".tar", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".zip"}
)  # fmt: skip
_ASKED_OF_A_SUFFIX, _LINES_TRIED, _HEAD_BYTES = 20, 10, 1 << 12
MAX_LIST_BYTES = 1 << 29


def images_in_folder(folder: Path) -> tuple[list[str], Counter[str], list[str]]:
    """All images below a folder, sorted, and what was passed over: counts of other files by suffix, and those of them
    that look like images.

    Names that start with a dot are skipped. Links are followed; each real folder is entered once, so loops end.
    Pipes, sockets, devices and broken links with the name of an image are left out with a warning.

    Raises:
        DataError: a folder cannot be read.
    """
    images: list[str] = []
    others: Counter[str] = Counter()
    unread: list[str] = []
    irregular: list[str] = []
    waiting = [str(folder)]
    entered: set[tuple[int, int]] = set()
    while waiting:
        for entry in _new_entries(waiting.pop(), entered):
            if entry.name.startswith("."):
                continue
            suffix = suffix_of(entry.name)
            if _is_true(entry.is_dir):
                waiting.append(entry.path)
            elif suffix not in IMAGE_SUFFIXES:
                others[suffix or "no suffix"] += 1
                if suffix in UNREAD_SUFFIXES:
                    unread.append(entry.path)
                elif suffix not in _OTHER_SUFFIXES and others[suffix or "no suffix"] <= _ASKED_OF_A_SUFFIX:
                    unread += [entry.path] if _is_image(entry.path) else []
            else:
                (images if _is_true(entry.is_file) else irregular).append(entry.path)
    if irregular:
        logger.warning(
            "below `%s`: entries with the name of an image that are not regular files: %d, first: `%s`",
            printable(folder), len(irregular), printable(min(irregular)),
        )  # fmt: skip
    return sorted(images), others, sorted(unread)


def images_in_list(list_path: Path, root: Path) -> list[str]:
    """The images that a text file names, one per line, in its order.

    A line that starts with `./` counts from the folder of the list; another relative line counts from `root`, or,
    where nothing is there, from the folder of the list. Blank lines, a byte-order mark and CRLF are fine. Absolute
    lines and lines that leave the root are taken as they are: what they name is only ever read as an image.

    Raises:
        DataError: the list cannot be read or is not plain text.
    """
    folder, lines = str(list_path.parent), _lines_of(list_path)
    paths = [_resolved(line, folder, str(root)) for line in lines]
    if lines and not any(map(exists, paths[:_LINES_TRIED])):
        moved = moved_files(lines, [folder, str(root)])
        if moved is not None:
            logger.warning(
                "list file `%s`: `%s` is not there; `%s` is read, and all others likewise",
                printable(list_path), printable(lines[0]), printable(moved[0]),
            )  # fmt: skip
            return moved
    changed = [line for line, path in zip(lines, paths, strict=True) if "\\" in line and "\\" not in path]
    if changed:
        logger.info(
            "list file `%s`: %d of %d lines have backslashes, which are read as `/`; first: `%s`",
            printable(list_path), len(changed), len(lines), printable(changed[0]),
        )  # fmt: skip
    return paths


def images_by_stem(list_path: Path, folder: Path) -> list[str]:
    """The images below a folder that a text file names without their suffix, one per line, in its order.

    What follows the name in its line is passed over, and so are folders that lead to the images from elsewhere, where
    there is no such name. A name may have the suffix of an image; one that no image has gets `.jpg`, so that the scan
    can report it.

    Raises:
        DataError: the list or the folder cannot be read, or the list is not plain text.
    """
    by_name = {image[len(str(folder)) + 1 :]: image for image in images_in_folder(folder)[0]}
    by_stem = {name.removesuffix(name[name.rfind(".") :]): image for name, image in by_name.items()}
    images = {**by_stem, **by_name}
    return [_by_stem(line, images, folder) for line in _lines_of(list_path)]


def _by_stem(line: str, images: Mapping[str, str], folder: Path) -> str:
    first = line.replace("\t", " ").split(" ")[0]
    for name in (line, first):
        stem = name.removesuffix(name[name.rfind(".") :]) if suffix_of(name) in IMAGE_SUFFIXES else name
        for known in (name, *_ends_of(name), stem, *_ends_of(stem)):
            if known in images:
                return images[known]
    return os.path.normpath(f"{folder}/{first}{'' if suffix_of(first) in IMAGE_SUFFIXES else '.jpg'}")


def _ends_of(path: str) -> list[str]:
    parts = parts_of(path)
    return ["/".join(parts[dropped:]) for dropped in range(len(parts))]


def suffix_of(name: str) -> str:
    """The suffix of a file name in lower case, with its dot; empty if there is none.

    >>> suffix_of("a.b.JPG"), suffix_of("README")
    ('.jpg', '')
    """
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _is_image(path: str) -> bool:
    """Whether the content of a file is that of an image that could be read."""
    try:
        read_header(read_bounded(path, _HEAD_BYTES, prefix=True))
    except ShortOfBytes:
        return True
    except (DataError, DamagedImage):
        return False
    return True


def _lines_of(list_path: Path) -> list[str]:
    """The lines of a text file that are not blank, without spaces around them."""
    data = read_bounded(list_path, MAX_LIST_BYTES).removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        raise DataError(f"list file `{printable(list_path)}` is not plain text", hint="save it as UTF-8")
    lines = (os.fsdecode(line.strip()) for line in data.splitlines())
    return [line for line in lines if line]


def _resolved(line: str, list_folder: str, root: str) -> str:
    if line.startswith(".\\"):
        line = line.replace("\\", "/")
    if line.startswith("./"):
        return os.path.normpath(f"{list_folder}/{line[2:]}")
    if os.path.isabs(line):  # noqa: PTH117
        return os.path.normpath(line)
    if "\\" in line and not exists(f"{root}/{line}"):  # written on Windows
        return _resolved(line.replace("\\", "/"), list_folder, root)
    below_root = os.path.normpath(f"{root}/{line}")
    if list_folder == root or exists(below_root):
        return below_root
    return os.path.normpath(f"{list_folder}/{line}")


def exists(path: StrPath) -> bool:
    """Whether a path exists; False if a folder above may not be read."""
    return os.path.exists(path)  # noqa: PTH110


def _is_true(ask: Callable[[], bool]) -> bool:
    """What a question about an entry of a folder gives; False for a link to itself."""
    try:
        return ask()
    except OSError:
        return False


def _new_entries(folder: str, entered: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """The entries of a folder, last name first; none if its identity is among `entered`, to which it is added."""
    try:
        status = os.stat(folder)  # noqa: PTH116 - plain strings: a dataset has many files
        if (status.st_dev, status.st_ino) in entered:
            return []
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name, reverse=True)
    except OSError as problem:
        raise DataError(f"folder `{printable(folder)}` cannot be read: {problem.strerror}") from problem
