"""Images of feature maps: at most 32, side by side, each with its own brightness."""

from __future__ import annotations

import numpy as np
import pytest

from onelook.drawing.feature_maps import GAP_PX, draw_feature_maps


@pytest.mark.parametrize(
    ("shape", "size_hw"),
    [
        ((3, 80, 100), (80, 3 * 100 + 2 * GAP_PX)),
        ((9, 64, 64), (2 * 64 + GAP_PX, 8 * 64 + 7 * GAP_PX)),
        ((512, 20, 40), (4 * 40 + 3 * GAP_PX, 8 * 80 + 7 * GAP_PX)),
        ((1, 1, 1), (64, 64)),
    ],
)
def test_maps_stand_in_rows_of_eight_and_small_ones_are_enlarged(
    shape: tuple[int, int, int], size_hw: tuple[int, int]
) -> None:
    drawn = draw_feature_maps(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    assert drawn.shape == (*size_hw, 3) and drawn.dtype == np.uint8


def test_each_map_goes_from_dark_to_bright_and_odd_ones_are_dark() -> None:
    ramp = np.linspace(-5, 3, 64 * 64, dtype=np.float32).reshape(64, 64)
    maps = np.stack([ramp, 1000 * ramp, np.ones_like(ramp), np.full_like(ramp, np.nan)])
    drawn = draw_feature_maps(maps).astype(int).sum(axis=2)
    ours, scaled, flat, odd = (drawn[:, start : start + 64] for start in range(0, 4 * 66, 66))
    assert ours[0, 0] < 200 < 500 < ours[-1, -1] and np.array_equal(ours, scaled)
    assert (flat == ours[0, 0]).all() and (odd == ours[0, 0]).all()
