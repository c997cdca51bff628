"""The order of a run."""

from __future__ import annotations

import numpy as np
import pytest

from onelook.data.rectangles import similar_shapes
from onelook.data.sampler import EpochOrder, fixed_order

RECTANGLES = similar_shapes(np.array([[10 + i, 40] for i in range(10)], np.int32), imgsz=64, batch_size=4)


def test_each_epoch_shows_every_image_once_and_keeps_the_last_short_batch() -> None:
    batches = list(EpochOrder(seed=1, num_images=10, batch_size=4, epochs=3))
    assert [len(batch) for batch in batches] == [4, 4, 2] * 3
    for epoch in range(3):
        keys = [key for batch in batches[3 * epoch : 3 * epoch + 3] for key in batch]
        assert sorted(keys) == [(epoch, image) for image in range(10)]


def test_order_differs_between_epochs_and_between_seeds() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batch = next(iter(EpochOrder(seed, num_images=50, batch_size=50, epochs=9, start_epoch=epoch)))
        return [image for _, image in batch]

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize("rectangles", [None, RECTANGLES])
@pytest.mark.parametrize(("epoch", "batch"), [(0, 0), (0, 2), (1, 0), (1, 1), (2, 2), (3, 0)])
def test_a_run_goes_on_from_any_batch(epoch: int, batch: int, rectangles: object) -> None:
    whole = EpochOrder(7, num_images=10, batch_size=4, epochs=3, rectangles=rectangles)  # type: ignore[arg-type]
    rest = EpochOrder(7, 10, 4, 3, start_epoch=epoch, start_batch=batch, rectangles=rectangles)  # type: ignore[arg-type]
    assert list(rest) == list(whole)[3 * epoch + batch :]
    assert len(rest) == len(list(rest))


def test_rectangular_batches_stay_together_and_only_their_order_changes() -> None:
    order = EpochOrder(0, num_images=10, batch_size=4, epochs=6, rectangles=RECTANGLES)
    batches = [[image for _, image in batch] for batch in order]
    epochs = [batches[start : start + 3] for start in range(0, 18, 3)]
    assert all(sorted(epoch) == sorted(fixed_order(RECTANGLES)) for epoch in epochs)
    assert any(epoch != epochs[0] for epoch in epochs)


def test_nothing_is_left_after_the_last_epoch() -> None:
    assert list(EpochOrder(0, num_images=10, batch_size=4, epochs=2, start_epoch=2)) == []
