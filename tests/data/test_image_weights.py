"""Drawing the images of an epoch by what is on them."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_index import make_index

from onelook.data.image_weights import ImageWeights, class_weights

BOX = (0.5, 0.5, 0.2, 0.2)
# 12 images of class 0, 3 of class 1, one of both, two of none
CLASSES = [[0]] * 12 + [[1]] * 3 + [[0, 1]] + [[]] * 2
INDEX = make_index([(9, 9)] * len(CLASSES), [[(c, *BOX) for c in classes] for classes in CLASSES])


def weights_of(class_ap: tuple[float, ...] = (), *, num_classes: int = 2) -> np.ndarray:
    return ImageWeights(INDEX, num_classes=num_classes, seed=0).weights(class_ap)


@pytest.mark.parametrize(
    ("class_ids", "expected"),
    [([0, 0, 0, 1], [0.5, 1.5]), ([0, 1], [1, 1]), ([], [1, 1]), ([1] * 9, [1.8, 0.2])],
)
def test_class_weights_are_inverse_counts_with_a_mean_of_one(class_ids: list[int], expected: list[float]) -> None:
    assert class_weights(np.array(class_ids, np.int64), 2) == pytest.approx(expected)


def test_weights_are_sums_over_labels() -> None:
    weights = weights_of()
    rare, common = 2 * 13 / 17, 2 * 4 / 17  # 13 labels of class 0, 4 of class 1
    assert weights[:12] == pytest.approx(common / 2) and weights[12:15] == pytest.approx(rare / 2)
    assert weights[15] == pytest.approx((rare + common) / 2) and (weights[16:] == 0).all()


def test_classes_that_are_detected_well_count_less() -> None:
    before, after = weights_of(), weights_of((0.5, 0.9))
    assert after[0] == pytest.approx(before[0] * 0.25) and after[12] == pytest.approx(before[12] * 0.01)


def test_images_are_drawn_as_often_as_they_weigh() -> None:
    draws = ImageWeights(INDEX, num_classes=2, seed=3)
    counts = np.zeros(len(INDEX))
    for epoch in range(2000):
        drawn = draws.draw(epoch, (0.2, 0.4))
        assert drawn.shape == (len(INDEX),) and drawn.dtype == np.int64
        counts += np.bincount(drawn, minlength=len(INDEX))
    weights = weights_of((0.2, 0.4))
    assert counts / counts.sum() == pytest.approx(weights / weights.sum(), abs=0.01)
    assert (counts[16:] == 0).all()


def test_a_draw_depends_on_seed_epoch_and_precision_alone() -> None:
    one, same, other = (ImageWeights(INDEX, num_classes=2, seed=seed) for seed in (1, 1, 2))
    first = one.draw(4, (0.1, 0.2)).tolist()
    one.draw(5, ())
    assert one.draw(4, (0.1, 0.2)).tolist() == same.draw(4, (0.1, 0.2)).tolist() == first
    assert first not in [
        one.draw(5, (0.1, 0.2)).tolist(), one.draw(4, (0.1, 0.9)).tolist(), other.draw(4, (0.1, 0.2)).tolist(),
    ]  # fmt: skip


@pytest.mark.parametrize("class_ap", [(1.0, 1.0), ()])
def test_without_any_weight_all_images_are_equal(class_ap: tuple[float, ...]) -> None:
    index = INDEX if class_ap else make_index([(9, 9)] * 18)
    draws = ImageWeights(index, num_classes=2, seed=0)
    drawn = np.concatenate([draws.draw(epoch, class_ap) for epoch in range(500)])
    assert np.bincount(drawn, minlength=18) / 9000 == pytest.approx(1 / 18, abs=0.01)
