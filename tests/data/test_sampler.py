"""The order of a run."""

from __future__ import annotations

import numpy as np
import pytest

from onelook.data.rectangles import similar_shapes
from onelook.data.sampler import EpochItem, EpochOrder, SampleItems, fixed_order, share_of

RECTANGLES = similar_shapes(np.array([[10 + i, 40] for i in range(10)], np.int32), imgsz=64, batch_size=4)


def images_of(batch: list[SampleItems]) -> list[int]:
    return [slot.number for sample in batch for slot in sample]


def test_each_epoch_shows_every_image_once_in_batches_of_nearly_one_size() -> None:
    batches = list(EpochOrder(seed=1, num_images=10, batch_size=4, epochs=3))
    assert [len(batch) for batch in batches] == [4, 3, 3] * 3
    for epoch in range(3):
        items = [item for batch in batches[3 * epoch : 3 * epoch + 3] for sample in batch for item in sample]
        assert sorted((item.epoch, item.number) for item in items) == [(epoch, image) for image in range(10)]


def test_order_differs_between_epochs_and_between_seeds() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return images_of(next(iter(EpochOrder(seed, num_images=50, batch_size=50, epochs=9, start_epoch=epoch))))

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize("rectangles", [None, RECTANGLES])
@pytest.mark.parametrize(("epoch", "batch"), [(0, 0), (0, 2), (1, 0), (1, 1), (2, 2), (3, 0)])
def test_a_run_resumes_from_any_batch(epoch: int, batch: int, rectangles: object) -> None:
    whole = EpochOrder(7, num_images=10, batch_size=4, epochs=3, rectangles=rectangles)  # type: ignore[arg-type]
    rest = EpochOrder(7, 10, 4, 3, start_epoch=epoch, start_batch=batch, rectangles=rectangles)  # type: ignore[arg-type]
    assert list(rest) == list(whole)[3 * epoch + batch :]
    assert len(rest) == len(list(rest))


@pytest.mark.parametrize(("num_images", "most"), [(65, 64), (122, 11), (205, 17), (8, 8), (9, 8), (1, 8), (1025, 16)])
def test_no_batch_has_two_images_more_than_another(num_images: int, most: int) -> None:
    """One image that is left over must not be a batch of its own."""
    sizes = [len(batch) for batch in EpochOrder(0, num_images, most, epochs=1)]
    assert sum(sizes) == num_images and len(sizes) == -(-num_images // most)
    assert sizes[0] == max(sizes) <= min(most, min(sizes) + 1)


def test_rectangular_batches_stay_together_and_swap_with_those_of_their_size() -> None:
    order = EpochOrder(0, num_images=10, batch_size=4, epochs=6, rectangles=RECTANGLES)
    batches = [images_of(batch) for batch in order]
    epochs = [batches[start : start + 3] for start in range(0, 18, 3)]
    assert all(sorted(epoch) == sorted(fixed_order(RECTANGLES)) for epoch in epochs)
    assert any(epoch != epochs[0] for epoch in epochs)
    assert {tuple(map(len, epoch)) for epoch in epochs} == {(4, 3, 3)}, "a resumed run counts on it"


def test_rectangular_batches_are_shuffled_when_all_are_full() -> None:
    rectangles = similar_shapes(np.array([[10 + i, 40] for i in range(12)], np.int32), imgsz=64, batch_size=4)
    order = EpochOrder(0, num_images=12, batch_size=4, epochs=8, rectangles=rectangles)
    last = [images_of(batch) for number, batch in enumerate(order) if number % 3 == 2]
    assert len({tuple(batch) for batch in last}) > 1


def test_nothing_is_left_after_the_last_epoch() -> None:
    assert list(EpochOrder(0, num_images=10, batch_size=4, epochs=2, start_epoch=2)) == []


@pytest.mark.parametrize(("count", "world_size", "sizes"), [(5, 3, [1, 2, 2]), (4, 2, [2, 2]), (2, 4, [0, 1, 0, 1])])
def test_shares_are_as_near_to_equal_as_can_be(count: int, world_size: int, sizes: list[int]) -> None:
    assert [len(share_of(range(count), rank, world_size)) for rank in range(world_size)] == sizes


def test_validation_batches_are_dealt_out_whole() -> None:
    whole = fixed_order(RECTANGLES)
    assert [fixed_order(RECTANGLES, rank=rank, world_size=2) for rank in (0, 1)] == [[whole[0], whole[2]], [whole[1]]]


def test_partners_are_the_images_of_the_batch_of_all_processes() -> None:
    def shares(rank: int, world_size: int) -> list[list[tuple[EpochItem, ...]]]:
        return list(EpochOrder(3, 20, 8, 2, rank=rank, world_size=world_size, partners_of_batch=True))

    whole = shares(0, 1)
    assert [a + b for a, b in zip(shares(0, 2), shares(1, 2), strict=True)] == whole
    for batch in whole:
        numbers = tuple(sample[0].number for sample in batch)
        assert {sample[0].partners for sample in batch} == {numbers if len(batch) == 8 else ()}
