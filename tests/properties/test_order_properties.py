"""What holds for the order of every run, whatever its size and the number of its processes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onelook.data import quad
from onelook.data.even_batches import batch_bounds
from onelook.data.rectangles import equal_frames, similar_shapes
from onelook.data.sampler import EpochOrder, fixed_order

EPOCHS = 2
COUNTS = st.integers(1, 70)
BATCHES = st.integers(1, 33)
WORLD_SIZES = st.integers(1, 9)


def order_of(
    num_images: int, batch_size: int, *, rect: bool, twice: bool = False, rank: int = 0, world_size: int = 1
) -> EpochOrder:
    order = EpochOrder(3, num_images, batch_size, EPOCHS, rank=rank, world_size=world_size, quad=twice)
    if rect:
        sizes = np.stack([np.arange(20, 20 + num_images), np.full(num_images, 50)], axis=1).astype(np.int32)
        order = replace(order, rectangles=similar_shapes(sizes, imgsz=64, batch_size=order.images_per_batch))
    return order


@settings(max_examples=100)
@given(COUNTS, BATCHES, WORLD_SIZES, st.booleans(), st.booleans())
def test_shares_of_all_processes_make_the_batches_of_one(
    num_images: int, batch_size: int, world_size: int, rect: bool, twice: bool
) -> None:
    batch_size *= 4 if twice else 1
    whole = list(order_of(num_images, batch_size, rect=rect, twice=twice))
    shares = [
        list(order_of(num_images, batch_size, rect=rect, twice=twice, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert {len(share) for share in shares} == {len(whole)}
    for number, batch in enumerate(whole):
        assert [sample for share in shares for sample in share[number]] == batch
        sizes = [len(share[number]) for share in shares]
        assert max(sizes) - min(sizes) <= 1


@settings(max_examples=100)
@given(COUNTS, BATCHES, st.booleans(), st.booleans())
def test_each_image_comes_exactly_once_per_epoch_and_sizes_keep_their_positions(
    num_images: int, batch_size: int, rect: bool, twice: bool
) -> None:
    batch_size *= 4 if twice else 1
    order = order_of(num_images, batch_size, rect=rect, twice=twice)
    batches = list(order)
    per_epoch = len(batches) // EPOCHS
    assert per_epoch == order.batches_per_epoch
    sizes = [last - first for first, last in pairwise(batch_bounds(num_images, per_epoch))]
    assert max(sizes) <= min(order.images_per_batch, min(sizes) + 1) and sizes[0] == max(sizes)
    if twice:
        sizes = [quad.num_samples(size, batch_size) for size in sizes]
    for epoch in range(EPOCHS):
        own = batches[epoch * per_epoch : (epoch + 1) * per_epoch]
        items = [item for batch in own for sample in batch for item in sample]
        assert sorted((item.epoch, item.number) for item in items) == [(epoch, image) for image in range(num_images)]
        assert [len(batch) for batch in own] == sizes


@settings(max_examples=100)
@given(COUNTS, BATCHES, WORLD_SIZES)
def test_every_image_is_validated_by_exactly_one_process(num_images: int, batch_size: int, world_size: int) -> None:
    rectangles = equal_frames(num_images, frame_hw=(64, 64), batch_size=batch_size)
    dealt = [fixed_order(rectangles, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(batch for part in dealt for batch in part) == sorted(fixed_order(rectangles))
    assert sorted(image for part in dealt for batch in part for image in batch) == list(range(num_images))
