"""Fitting images into frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onelook.geometry.letterbox import fitted_size, letterbox

SIDES = st.integers(1, 5000)


@given(SIDES, SIDES, st.integers(1, 40), st.integers(1, 40))
def test_content_and_borders_fill_the_frame(height: int, width: int, rows: int, columns: int) -> None:
    frame = (32 * rows, 32 * columns)
    fitted = letterbox((height, width), frame)
    assert fitted.frame_hw == frame
    for axis in (0, 1):
        start = fitted.origin_xy[1 - axis]
        assert start >= 0
        assert start + fitted.content_hw[axis] <= frame[axis]
        before, after = start, frame[axis] - start - fitted.content_hw[axis]
        assert abs(before - after) <= 1
    assert fitted.content_hw[0] == frame[0] or fitted.content_hw[1] == frame[1]


@given(SIDES, SIDES, st.sampled_from([32, 64]))
def test_minimal_frames_are_multiples_of_the_stride_and_waste_less_than_one(
    height: int, width: int, stride: int
) -> None:
    fitted = letterbox((height, width), (640, 640), minimal=True, stride=stride)
    for frame, content in zip(fitted.frame_hw, fitted.content_hw, strict=True):
        assert frame % stride == 0
        assert frame - content < stride


@pytest.mark.parametrize(
    ("size_hw", "side", "expected"),
    [
        ((480, 640), 640, (480, 640)),
        ((427, 640), 320, (214, 320)),
        ((10, 5), 640, (640, 320)),
        ((1, 9000), 64, (1, 64)),
    ],
)
def test_fitted_size_has_the_longer_side_asked_for(
    size_hw: tuple[int, int], side: int, expected: tuple[int, int]
) -> None:
    assert fitted_size(size_hw, side) == expected
