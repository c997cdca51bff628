"""The images that one file of an annotation tool lists, and the labels of each: CSV, Label Studio, CVAT."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, Lazy, SizeHw
from onelook.data.formats.listing import ListedImage, collect
from onelook.data.formats.listing_file import listed_paths, read_listing
from onelook.data.formats.object_rows import RowCollector
from onelook.data.formats.unlisted import unlisted_images
from onelook.errors import DataError
from onelook.files.bounded import file_digest, printable
from onelook.files.states import file_states

MAX_BYTES = 1 << 30


def open_listed(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images that the file of a split lists, or those of them that were chosen, and the reader of their objects.

    Raises:
        DataError: the split is not described, its file cannot be used, or it lists no image.
    """
    spec.require(split)
    path = str(spec.annotations[split])
    listing = read_listing(path, spec.format)
    paths = _paths(spec, split, reports=True)
    entries: dict[str, list[ListedImage]] = defaultdict(list)
    for image, entry in zip(paths, listing.images, strict=True):
        entries[image].append(entry)
    images = sorted(entries if (chosen := spec.chosen_images(split)) is None else set(chosen))
    if not images:
        raise DataError(f"split `{split}`: `{printable(path)}` lists no images")
    class_of_name = spec.class_of_name(single_cls)
    digest = Lazy(lambda: file_digest(path, MAX_BYTES))
    return LabelSource(
        images=images,
        label_files=[path] * len(images),
        has_labels=np.array([image in entries for image in images]),
        files=[*images, path],
        states=file_states([*images, path]),
        rules=spec.rules(single_cls),
        read=lambda number, size_hw: _rows(entries[images[number]], size_hw, class_of_name, digest()),
        digest=lambda number: digest(),
        lost_rows=lambda: listing.lost,
        lost_file=path,
        strays=unlisted_images(spec, split, paths, lambda other: _paths(spec, other)),
    )


def _paths(spec: DatasetSpec, split: str, *, reports: bool = False) -> list[str]:
    """Those of all images in the file of a split, in its order; whether it is said how they are read."""
    listing = read_listing(spec.annotations[split], spec.format)
    named_in = str(spec.annotations[split]) if reports else ""
    return listed_paths(str(spec.splits[split][0]), listing, spec.format, named_in=named_in)


def _rows(
    entries: Sequence[ListedImage], size_hw: SizeHw, class_of_name: Mapping[str, int] | None, digest: bytes
) -> LabelRows:
    rows = RowCollector()
    for entry in entries:
        collect(rows, entry, size_hw, class_of_name)
    return rows.rows(digest)
