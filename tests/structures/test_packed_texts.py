"""Texts packed in arrays."""

from __future__ import annotations

import gc
import os
import pickle

import pytest

from onelook.structures.packed_texts import PackedTexts, joined_texts

TEXTS = ["a.jpg", "", "é😀/b.png", "new\nline", os.fsdecode(b"\xff\xfe"), "a.jpg"]


def test_texts_come_back() -> None:
    packed = PackedTexts(TEXTS)
    assert list(packed) == TEXTS and len(packed) == 6
    assert [packed[number] for number in range(-6, 6)] == TEXTS * 2
    assert packed[1:5:2] == ("", "new\nline")
    assert "a.jpg" in packed and "b.jpg" not in packed and packed.index("") == 1
    assert list(pickle.loads(pickle.dumps(packed))) == TEXTS
    assert list(PackedTexts([])) == []


def test_equal_means_the_same_texts() -> None:
    packed = PackedTexts(TEXTS)
    assert packed == tuple(TEXTS) == packed and packed == PackedTexts(iter(TEXTS))
    assert packed != TEXTS[1:] and packed != [*TEXTS[1:], "b"] and packed != "a.jpg"


@pytest.mark.parametrize("index", [6, -7])
def test_index_beyond_the_end_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        PackedTexts(TEXTS)[index]


def test_no_text_is_kept_as_an_object() -> None:
    packed = PackedTexts(f"{number}.jpg" for number in range(1000))
    held = gc.get_referents(packed.__dict__)
    assert all(type(value).__module__ == "numpy" or isinstance(value, str) for value in held)
    assert sum(isinstance(value, str) for value in held) <= 2  # the names of the two arrays


@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 4097, 9000])
def test_blocks_of_texts_are_the_texts_joined(count: int) -> None:
    texts = [f"{number}{TEXTS[number % 6]}" for number in range(count)]
    blocks = list(joined_texts(texts))
    assert b"".join(blocks) == b"\0".join(map(os.fsencode, texts))
    assert all(len(block) < 100_000 for block in blocks)
