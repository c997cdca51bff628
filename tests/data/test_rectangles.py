"""Batches of similar shape."""

from __future__ import annotations

import numpy as np
import pytest

from onelook.data.rectangles import equal_frames, own_frames, similar_shapes
from onelook.geometry.letterbox import fitted_size

RNG = np.random.default_rng(3)
SIZES = RNG.integers(20, 900, (101, 2)).astype(np.int32)


def test_every_image_is_in_exactly_one_batch() -> None:
    found = similar_shapes(SIZES, imgsz=640, batch_size=8)
    batches = [found.batch(number) for number in range(len(found))]
    assert sorted(image for batch in batches for image in batch) == list(range(101))
    assert sorted(map(len, batches)) == [7] * 3 + [8] * 10
    assert all(found.batch_of[image] == number for number, batch in enumerate(batches) for image in batch)


def test_batches_are_in_ascending_order_of_aspect() -> None:
    found = similar_shapes(SIZES, imgsz=640, batch_size=8)
    aspects = SIZES[found.order, 0] / SIZES[found.order, 1]
    assert (np.diff(aspects) >= 0).all()


def test_every_image_fits_its_frame_without_being_reduced_again() -> None:
    for pad in (0.0, 0.5):
        found = similar_shapes(SIZES, imgsz=640, batch_size=8, pad=pad)
        for image, (height, width) in enumerate(SIZES.tolist()):
            content = fitted_size((height, width), 640)
            frame = found.frame_of(image)
            assert content[0] <= frame[0] and content[1] <= frame[1]
            assert frame[0] % 32 == 0 and frame[1] % 32 == 0


def test_exact_multiples_do_not_grow_without_pad() -> None:
    sizes = np.array([[h, 640] for h in range(32, 641, 32)], np.int32)
    found = similar_shapes(sizes, imgsz=640, batch_size=1)
    assert found.frames_hw.tolist() == sizes.tolist()


def test_equal_frames_keep_the_order_of_the_dataset() -> None:
    found = equal_frames(5, frame_hw=(64, 96), batch_size=2)
    assert [found.batch(number) for number in range(len(found))] == [[0, 1], [2, 3], [4]]
    assert {found.frame_of(number) for number in range(5)} == {(64, 96)}


@pytest.mark.parametrize("batch_size", [1, 2, 7, 32, 1000])
def test_own_frames_do_not_depend_on_the_batch(batch_size: int) -> None:
    alone = own_frames(SIZES, imgsz=640, batch_size=1)
    found = own_frames(SIZES, imgsz=640, batch_size=batch_size)
    batches = [found.batch(number) for number in range(len(found))]
    assert sorted(alone.order.tolist()) == list(range(len(SIZES)))
    assert max(map(len, batches)) <= batch_size
    for number, batch in enumerate(batches):
        assert {found.frame_of(image) for image in batch} == {tuple(found.frames_hw[number].tolist())}
        assert all(found.frame_of(image) == alone.frame_of(image) for image in batch)
    assert [image for batch in batches for image in batch] == alone.order.tolist()


def test_own_frames_of_no_images_are_no_batches() -> None:
    assert len(own_frames(np.zeros((0, 2), np.int32), imgsz=640, batch_size=4)) == 0
