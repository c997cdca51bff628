"""The images of a split with a file of labels for each, in a folder of its own: Pascal VOC, VisDrone, LabelMe."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from onelook.data.dataset_spec import DatasetSpec, split_images
from onelook.data.formats import labelme_file, visdrone_file, voc_file
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.label_source import LabelSource, SizeHw, one_by_one, paired_source
from onelook.data.formats.listing import ListedImage, rows_of
from onelook.data.formats.row_rules import RefusedRow, refused_file
from onelook.errors import DataError
from onelook.files.bounded import read_bounded

Parse = Callable[[bytes], ListedImage]
Classes = Mapping[str, int] | None


def open_annotated(spec: DatasetSpec, split: str, single_cls: bool) -> LabelSource:
    """The images of a split and the reader of their label files.

    Raises:
        DataError: the split is not described, one of its places does not exist, or it holds no image.
    """
    images, unread = split_images(spec, split)
    annotations, folders = spec.annotations[split], [str(entry) for entry in spec.splits[split]]
    suffix, max_bytes = _FILES[spec.format]
    parse, classes = _parser(spec, single_cls)

    def read(path: str, size_hw: SizeHw) -> LabelRows:
        try:
            data = read_bounded(path, max_bytes)
        except DataError as problem:
            return refused_file(problem.message)
        return annotated_rows(data, size_hw, classes, parse)

    together = (other for other in spec.splits if spec.annotations[other] == annotations)
    return paired_source(
        images,
        [path_below(annotations, image, folders, suffix=suffix) for image in images],
        roots=[(str(entry), str(annotations)) for other in together for entry in spec.splits[other]],
        unread=unread,
        rules=f"{spec.rules(single_cls)} {spec.keep_difficult}",
        read=one_by_one(read),
    )


def annotated_rows(data: bytes, size_hw: SizeHw, class_of_name: Classes, parse: Parse) -> LabelRows:
    """The rows of a label file; never raises for what is in it.

    Args:
        size_hw: height and width of the image after EXIF rotation, pixels; (0, 0) if it cannot be read.
        class_of_name: class name -> class id; None makes all objects class 0.
        parse: gives the objects of a file, or raises RefusedRow.
    """
    try:
        return rows_of([parse(data)], size_hw, class_of_name)
    except RefusedRow as problem:
        return refused_file(str(problem))


def path_below(annotations: Path, image: str, image_folders: Sequence[str], *, suffix: str) -> str:
    """The label file of an image: below `annotations` as the image lies below its folder, else directly in it.

    >>> path_below(Path("/data/xml"), "/data/images/a/1.jpg", ["/data/images"], suffix=".xml")
    '/data/xml/a/1.xml'
    """
    folder = next((folder for folder in image_folders if image.startswith(folder + os.sep)), None)
    inside = os.path.basename(image) if folder is None else image[len(folder) + 1 :]  # noqa: PTH119
    return f"{annotations}{os.sep}{os.path.splitext(inside)[0]}{suffix}"  # noqa: PTH122


_FILES = {
    "voc": (".xml", voc_file.MAX_BYTES),
    "visdrone": (".txt", visdrone_file.MAX_BYTES),
    "labelme": (".json", labelme_file.MAX_BYTES),
}


def _parser(spec: DatasetSpec, single_cls: bool) -> tuple[Parse, Classes]:
    """What reads the files of a dataset, and the classes by the names that these give."""
    if spec.format == "visdrone":
        num_classes = len(spec.names)
        parse = partial(visdrone_file.parse_visdrone, num_classes=num_classes, single_cls=single_cls)
        return parse, None if single_cls else visdrone_file.classes_of(num_classes)
    if spec.format == "voc":
        return partial(voc_file.parse_voc, keep_difficult=spec.keep_difficult), spec.class_of_name(single_cls)
    return labelme_file.parse_labelme, spec.class_of_name(single_cls)
