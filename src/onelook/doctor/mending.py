"""The images and labels that a corrected copy of a dataset holds, and the names of its files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onelook.data.scan.packing import offsets_of
from onelook.doctor.findings import Finding
from onelook.errors import DataError
from onelook.files.bounded import printable, read_bounded
from onelook.files.image_headers import read_header
from onelook.files.images import KIND_OF_SUFFIX, MAX_FILE_BYTES, brightened, used_bits
from onelook.files.jpeg import mended_jpeg
from onelook.structures.dataset_index import DatasetIndex

# Kinds whose reported image, or label, is left out of the copy.
DROPS_IMAGE = frozenset({"doubled-image", "leaked-image"})
DROPS_LABEL = frozenset({"doubled-object"})

_SUFFIX_OF_KIND = {"bmp": ".bmp", "jpeg": ".jpg", "png": ".png", "tiff": ".tif", "webp": ".webp"}


@dataclass(frozen=True)
class MendedSplit:
    """A split of the copy.

    Attributes:
        index: its images, by their old paths, and labels.
        inside: new path of each image below the folder of the split, with `/`; the suffix fits the content.
        odd: old paths of the images whose files are corrected, not copied.
    """

    split: str
    index: DatasetIndex
    inside: tuple[str, ...]
    odd: frozenset[str]


def mended_split(split: str, index: DatasetIndex, findings: Iterable[Finding]) -> MendedSplit:
    """A split without duplicates; DataError if no image would be left."""
    ours = [finding for finding in findings if finding.split == split]
    images = {finding.image for finding in ours if finding.kind in DROPS_IMAGE}
    labels = {finding.label for finding in ours if finding.kind in DROPS_LABEL}
    kept = without(index, images, labels)
    if len(kept) == 0:
        raise DataError(
            f"all images of split `{split}` are in a larger split too: none would be left",
            hint="split the dataset again: `onelook split`",
        )
    odd_files = {finding.file for finding in ours if finding.kind == "odd-file"}
    odd = frozenset(path for path in kept.paths if printable(path) in odd_files)
    return MendedSplit(split, kept, tuple(_names_inside(kept.paths, odd)), odd)


def without(index: DatasetIndex, images: Collection[int], labels: Collection[int]) -> DatasetIndex:
    """An index without these images and labels; it has no fingerprint, as no scan made it."""
    counts = np.diff(index.offsets)
    keeps_image = ~np.isin(np.arange(len(index)), list(images))
    keeps_label = np.repeat(keeps_image, counts) & ~np.isin(np.arange(len(index.class_ids)), list(labels))
    left = np.add.reduceat(np.append(keeps_label, False), index.offsets[:-1]) * (counts > 0)
    lengths = np.diff(index.polygon_offsets)
    return replace(
        index,
        paths=tuple(path for path, keep in zip(index.paths, keeps_image.tolist(), strict=True) if keep),
        sizes_hw=index.sizes_hw[keeps_image],
        offsets=offsets_of(left[keeps_image]),
        class_ids=index.class_ids[keeps_label],
        boxes=index.boxes[keeps_label],
        polygon_offsets=offsets_of(lengths[keeps_label]),
        polygon_points=index.polygon_points[np.repeat(keeps_label, lengths)],
        fingerprint="",
    )


def shift_of(paths: Iterable[str]) -> int:
    """By how many bits the values of all 16-bit images can be shifted before one overflows.

    Raises:
        DataError: an image can no longer be read.
    """
    used = max((used_bits(read_bounded(path, MAX_FILE_BYTES)) for path in paths), default=0)
    return 16 - used if used else 0


def mended_file(path: str, shift: int) -> bytes:
    """The bytes of a usable image file: a JPEG with a proper end, 16-bit values shifted by `shift` bits.

    Raises:
        DataError: it can no longer be read.
    """
    data = read_bounded(path, MAX_FILE_BYTES)
    header = read_header(data)
    if header.jpeg is not None:
        return mended_jpeg(data, header.jpeg)
    return brightened(data, shift) if shift else data


def _names_inside(paths: Sequence[str], odd: Collection[str]) -> list[str]:
    """Unique paths below the common folder, odd files with the suffix of their content."""
    folder = os.path.commonpath([str(Path(path).parent) for path in paths])
    names = []
    stems: set[str] = set()  # no two images of the copy share a label file
    for path in paths:
        stem = os.path.relpath(path, folder).replace(os.sep, "/").removesuffix(_last_suffix(path))
        suffix, number = _suffix_of(path) if path in odd else _last_suffix(path), 1
        unique = stem
        while unique in stems:
            number += 1
            unique = f"{stem}-{number}"
        stems.add(unique)
        names.append(f"{unique}{suffix}")
    return names


def _suffix_of(path: str) -> str:
    """The suffix of an image's name if it fits the content, else one that does."""
    kind = read_header(read_bounded(path, MAX_FILE_BYTES)).kind
    suffix = _last_suffix(path)
    return suffix if KIND_OF_SUFFIX.get(suffix.lower()) == kind else _SUFFIX_OF_KIND[kind]


def _last_suffix(path: str) -> str:
    return os.path.splitext(path)[1]  # noqa: PTH122 - the name may be no UTF-8
