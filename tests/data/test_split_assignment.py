"""Which part groups of images go to."""

from __future__ import annotations

import numpy as np
import pytest

from onelook.data.split_assignment import balanced, by_hash, stratified

NAMES = [f"images/{number:04}.jpg" for number in range(2000)]


def test_a_hash_divides_in_about_the_right_parts_and_further_names_move_none() -> None:
    parts = by_hash(NAMES, [0.7, 0.2, 0.1], 0)
    assert np.bincount(parts) / 2000 == pytest.approx([0.7, 0.2, 0.1], abs=0.03)
    assert np.array_equal(by_hash(NAMES[:500], [0.7, 0.2, 0.1], 0), parts[:500])
    assert not np.array_equal(by_hash(NAMES, [0.7, 0.2, 0.1], 1), parts)


def test_parts_of_nothing_get_nothing() -> None:
    assert set(by_hash(NAMES, [0.5, 0.0, 0.5], 0).tolist()) == {0, 2}
    labels = np.ones((2000, 1), np.int64)
    assert set(stratified(NAMES, np.ones(2000), labels, [0.5, 0.0, 0.5], 0).tolist()) == {0, 2}


def rare_and_frequent() -> np.ndarray:
    """(2000, 4) labels: of the last class ten in all, in ten images; a fifth of the images shows nothing."""
    rng = np.random.Generator(np.random.Philox(key=3))
    labels = rng.poisson([6, 1, 0.1, 0], (2000, 4))
    labels[rng.choice(2000, 10, replace=False), 3] = 1
    labels[::5] *= [0, 0, 0, 1]
    return labels


@pytest.mark.parametrize("fractions", [[0.8, 0.2], [0.7, 0.2, 0.1], [0.2] * 5])
def test_every_class_is_divided_by_the_fractions(fractions: list[float]) -> None:
    labels = rare_and_frequent()
    parts = stratified(NAMES, np.ones(2000), labels, fractions, 0)
    for class_id in range(4):
        in_parts = np.bincount(parts, labels[:, class_id], len(fractions))
        assert np.abs(in_parts - np.array(fractions) * labels[:, class_id].sum()).max() <= 1.001 + 0.01 * in_parts.max()
    assert np.abs(np.bincount(parts) - 2000 * np.array(fractions)).max() < 1


def test_hashing_leaves_rare_classes_to_chance() -> None:
    """What stratification is for: without it, ten labels may all go to one side."""
    labels = rare_and_frequent()[:, 3]
    shares = [labels[by_hash(NAMES, [0.8, 0.2], seed) == 1].sum() for seed in range(30)]
    assert min(shares) == 0 and max(shares) >= 4


def test_large_groups_are_weighed_by_their_images_and_labels() -> None:
    sizes = np.array([100, *[1] * 100])
    labels = sizes[:, None] * 2
    parts = stratified([f"{number}" for number in range(101)], sizes, labels, [0.5, 0.5], 0)
    assert np.bincount(parts, sizes) == pytest.approx([100, 100])


def test_equal_seeds_divide_alike() -> None:
    labels = rare_and_frequent()
    one, two, other = (stratified(NAMES, np.ones(2000), labels, [0.8, 0.2], seed) for seed in (1, 1, 2))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(4))
def test_stratified_folds_of_groups_differ_by_at_most_one_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, 80)
    labels = rng.poisson([4, 1, 0.2], (80, 3)) * sizes[:, None] * rng.integers(0, 2, (80, 1))
    filled = np.bincount(stratified([str(n) for n in range(80)], sizes, labels, [0.2] * 5, seed), sizes)
    assert filled.max() - filled.min() <= sizes.max()
    names = [str(n) for n in range(83)]
    alone = np.bincount(stratified(names, np.ones(83, np.int64), labels.repeat(2, 0)[:83], [0.2] * 5, seed))
    assert alone.max() - alone.min() <= 1


@pytest.mark.parametrize(("count", "parts"), [(100, 5), (103, 5), (7, 3), (12, 12)])
def test_balanced_parts_differ_by_at_most_one_image(count: int, parts: int) -> None:
    found = balanced([str(n) for n in range(count)], np.ones(count, np.int64), parts, 0)
    sizes = np.bincount(found, minlength=parts)
    assert sizes.max() - sizes.min() <= 1


def test_balanced_parts_of_groups_differ_by_at_most_one_group() -> None:
    sizes = np.random.default_rng(0).integers(1, 20, 60)
    found = balanced([str(n) for n in range(60)], sizes, 5, 0)
    filled = np.bincount(found, weights=sizes)
    assert filled.max() - filled.min() <= sizes.max()
