"""The 80 classes of COCO and the ids of its own files, against facts that COCO publishes."""

from __future__ import annotations

import pytest

from onelook.structures.coco_classes import COCO_CATEGORY_IDS, COCO_NAMES, category_ids, is_coco

UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}


def test_the_ids_are_1_to_90_without_the_unused_ones() -> None:
    assert list(COCO_CATEGORY_IDS) == [number for number in range(1, 91) if number not in UNUSED]
    assert len(COCO_NAMES) == len(set(COCO_NAMES)) == 80


@pytest.mark.parametrize(
    ("name", "category_id"),
    [("person", 1), ("stop sign", 13), ("backpack", 27), ("bottle", 44), ("dining table", 67), ("toilet", 70),
     ("tv", 72), ("book", 84), ("toothbrush", 90)],
)  # fmt: skip
def test_classes_have_their_official_ids(name: str, category_id: int) -> None:
    assert category_ids(COCO_NAMES)[COCO_NAMES.index(name)] == category_id


def test_other_classes_keep_their_numbers() -> None:
    others = [*COCO_NAMES[:-1], "comb"]
    assert not is_coco(others) and category_ids(others) == tuple(range(80))
    assert is_coco(list(COCO_NAMES))
