"""What holds for the order of every run, whatever its size and the number of its processes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onelook.data.rectangles import equal_squares, similar_shapes
from onelook.data.sampler import EpochOrder, fixed_order

EPOCHS = 2
COUNTS = st.integers(1, 70)
BATCHES = st.integers(1, 33)
WORLDS = st.integers(1, 9)


def order_of(num_images: int, batch_size: int, *, rect: bool, rank: int = 0, world_size: int = 1) -> EpochOrder:
    rectangles = None
    if rect:
        sizes = np.stack([np.arange(20, 20 + num_images), np.full(num_images, 50)], axis=1).astype(np.int32)
        rectangles = similar_shapes(sizes, imgsz=64, batch_size=batch_size)
    return EpochOrder(3, num_images, batch_size, EPOCHS, rectangles=rectangles, rank=rank, world_size=world_size)


@settings(max_examples=300, deadline=None)
@given(COUNTS, BATCHES, WORLDS, st.booleans())
def test_shares_of_all_processes_make_the_batches_of_one(
    num_images: int, batch_size: int, world_size: int, rect: bool
) -> None:
    whole = list(order_of(num_images, batch_size, rect=rect))
    shares = [
        list(order_of(num_images, batch_size, rect=rect, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert {len(share) for share in shares} == {len(whole)}
    for number, batch in enumerate(whole):
        assert [place for share in shares for place in share[number]] == batch
        sizes = [len(share[number]) for share in shares]
        assert max(sizes) - min(sizes) <= 1


@settings(max_examples=200, deadline=None)
@given(COUNTS, BATCHES, st.booleans())
def test_each_image_comes_exactly_once_per_epoch_and_sizes_keep_their_places(
    num_images: int, batch_size: int, rect: bool
) -> None:
    batches = list(order_of(num_images, batch_size, rect=rect))
    per_epoch = len(batches) // EPOCHS
    sizes = [min(batch_size, num_images - start) for start in range(0, num_images, batch_size)]
    for epoch in range(EPOCHS):
        own = batches[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert sorted(key for batch in own for place in batch for key in place) == [
            (epoch, image) for image in range(num_images)
        ]
        assert [len(batch) for batch in own] == sizes


@settings(max_examples=100, deadline=None)
@given(COUNTS, BATCHES, WORLDS)
def test_every_image_is_validated_by_exactly_one_process(num_images: int, batch_size: int, world_size: int) -> None:
    rectangles = equal_squares(num_images, imgsz=64, batch_size=batch_size)
    dealt = [fixed_order(rectangles, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(batch for part in dealt for batch in part) == sorted(fixed_order(rectangles))
    assert sorted(image for part in dealt for batch in part for image in batch) == list(range(num_images))
