"""The images that one file of an annotation tool lists, and the labels of each: CSV, Label Studio, CVAT."""

from __future__ import annotations

from collections import defaultdict

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.formats.label_source import LabelSource
from onelook.data.formats.listing import ListedImage, rows_of
from onelook.data.formats.listing_file import listed_paths, read_listing
from onelook.data.formats.one_file import images_of, one_file_source


def open_listed(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images that the file of a split lists, or those of them that were chosen, and the reader of their objects.

    Raises:
        DataError: the split is not described, its file cannot be used, or it lists no image.
    """
    spec.require(split)
    listing = read_listing(spec.annotations[split], spec.format)
    paths = _paths(spec, split, reports=True)
    images, class_of_name = images_of(spec, split, paths), spec.class_of_name(single_cls)
    entries: dict[str, list[ListedImage]] = defaultdict(list)
    for image, entry in zip(paths, listing.images, strict=True):
        entries[image].append(entry)
    return one_file_source(
        spec,
        split,
        images,
        paths,
        single_cls=single_cls,
        read=lambda number, size_hw: rows_of(entries[images[number]], size_hw, class_of_name),
        lost_rows=lambda: listing.lost,
        paths_of=lambda other: _paths(spec, other),
    )


def _paths(spec: DatasetSpec, split: str, *, reports: bool = False) -> list[str]:
    """Those of all images in the file of a split, in its order; whether it is said how they are read."""
    listing = read_listing(spec.annotations[split], spec.format)
    named_in = str(spec.annotations[split]) if reports else ""
    return listed_paths(str(spec.splits[split][0]), listing, spec.format, named_in=named_in)
