"""Where the label file of an image is, in formats that keep these in a folder of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from onelook.data.dataset_spec import DatasetSpec, split_images
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, SizeHw, paired_source
from onelook.data.formats.row_rules import refused_file
from onelook.errors import DataError
from onelook.files.bounded import content_digest, read_bounded


def annotated_source(
    spec: DatasetSpec,
    split: str,
    *,
    suffix: str,
    max_bytes: int,
    rules: str,
    parse: Callable[[bytes, SizeHw], LabelRows],
) -> LabelSource:
    """The images of a split, and their label files in a folder of its own.

    Args:
        spec, split: which images.
        suffix: of the label files.
        max_bytes: of a label file; a larger one is refused.
        rules: all else that the result depends on, as text.
        parse: the rows of a label file with this content, of an image of this size, or (0, 0) if it cannot be read.

    Raises:
        DataError: the split is not described, one of its places does not exist, or it holds no image.
    """
    images, unread = split_images(spec, split)
    annotations, folders = spec.annotations[split], [str(entry) for entry in spec.splits[split]]

    def read(path: str, size_hw: SizeHw) -> LabelRows:
        try:
            data = read_bounded(path, max_bytes)
        except DataError as problem:
            return refused_file(problem.message)
        return replace(parse(data, size_hw), digest=content_digest(data))

    together = (other for other in spec.splits if spec.annotations[other] == annotations)
    return paired_source(
        images,
        [path_below(annotations, image, folders, suffix=suffix) for image in images],
        roots=[(str(entry), str(annotations)) for other in together for entry in spec.splits[other]],
        unread=unread,
        rules=rules,
        read=read,
    )


def path_below(annotations: Path, image: str, image_folders: Sequence[str], *, suffix: str) -> str:
    """The label file of an image: below `annotations` as the image lies below its folder, else directly in it.

    >>> path_below(Path("/data/xml"), "/data/images/a/1.jpg", ["/data/images"], suffix=".xml")
    '/data/xml/a/1.xml'
    """
    folder = next((folder for folder in image_folders if image.startswith(folder + os.sep)), None)
    inside = os.path.basename(image) if folder is None else image[len(folder) + 1 :]  # noqa: PTH119
    dot = inside.rfind(".")
    stem = inside[:dot] if dot > inside.rfind(os.sep) + 1 else inside
    return f"{annotations}{os.sep}{stem}{suffix}"
