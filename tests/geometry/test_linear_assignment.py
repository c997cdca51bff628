"""The best pairs of a table, against SciPy and against all permutations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from onelook.geometry.assignment import best_pairs


@pytest.mark.parametrize("seed", range(40))
def test_no_other_pairs_have_a_greater_sum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(0, 6, 2)
    gains = rng.uniform(-1, 1, shape).round(1)
    pairs = best_pairs(gains)
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    assert len(set(rows)) == len(rows) and len(set(columns)) == len(columns)
    assert all(gains[pair] > 0 for pair in pairs)
    wide = np.maximum(gains if shape[0] <= shape[1] else gains.T, 0)
    best = max((sum(wide[row, column] for row, column in enumerate(chosen))
                for chosen in permutations(range(wide.shape[1]), wide.shape[0])), default=0.0)  # fmt: skip
    assert sum(gains[pair] for pair in pairs) == pytest.approx(best)


def test_large_table_is_as_good_as_that_of_scipy() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    gains = np.random.default_rng(0).uniform(0, 1, (60, 80))
    ours = sum(gains[pair] for pair in best_pairs(gains))
    assert ours == pytest.approx(gains[optimize.linear_sum_assignment(-gains)].sum())
