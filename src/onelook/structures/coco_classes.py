"""The 80 classes of the COCO dataset: their order in detectors, and the category ids of COCO's own files."""

from __future__ import annotations

from collections.abc import Sequence

COCO_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
)  # fmt: skip
"""Class names in the order of class ids, from 0."""

COCO_CATEGORY_IDS = (
    *range(1, 12), *range(13, 26), 27, 28, *range(31, 45), *range(46, 66), 67, 70, *range(72, 83), *range(84, 91),
)  # fmt: skip
"""Class id -> category id in COCO's annotation files, where 11 of the numbers up to 90 are not used."""

MAX_DIGITS = 19
"""Longer numbers do not fit in 64 bits, where evaluators keep them."""


def is_coco(names: Sequence[str]) -> bool:
    """Whether these are the classes of COCO, in its order.

    >>> is_coco(COCO_NAMES), is_coco(["person"])
    (True, False)
    """
    return tuple(names) == COCO_NAMES


def category_ids(names: Sequence[str]) -> tuple[int, ...]:
    """The category id of each class in COCO's format: those of COCO if these are its classes, else the class ids.

    >>> category_ids(["cat", "dog"]), category_ids(COCO_NAMES)[-1]
    ((0, 1), 90)
    """
    return COCO_CATEGORY_IDS if is_coco(names) else tuple(range(len(names)))


def image_ids(stems: Sequence[str]) -> list[int] | list[str]:
    """What images are called in COCO's files, by their file names without suffix.

    Numbers, as COCO has them, if all are distinct numbers; else the names, if these are distinct; else their positions.

    >>> image_ids(["000139", "285"]), image_ids(["000139", "hive"]), image_ids(["a", "a"])
    ([139, 285], ['000139', 'hive'], [0, 1])
    """
    if are_numbers(stems):
        return [int(stem) for stem in stems]
    return list(stems) if len(set(stems)) == len(stems) else list(range(len(stems)))


def are_numbers(stems: Sequence[str]) -> bool:
    """Whether all names are numbers, and no two the same one."""
    numbers = {int(stem) for stem in stems if stem.isascii() and stem.isdecimal() and len(stem) < MAX_DIGITS}
    return len(numbers) == len(stems)
