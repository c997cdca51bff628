"""Letterbox and batch frames against the published vectors for 640 pixels."""

from __future__ import annotations

from typing import Any

import pytest

from onelook.data.rectangles import frame_for_aspects
from onelook.geometry.letterbox import letterbox

VECTORS: list[tuple[tuple[int, int], dict[str, Any], tuple[int, int], float, tuple[float, float]]] = [
    ((720, 1280), {"minimal": True}, (384, 640), 0.5, (0, 12)),
    ((1080, 810), {}, (640, 640), 0.592593, (80, 0)),
    ((333, 500), {"upscale": False}, (640, 640), 1.0, (70, 153.5)),
    ((427, 640), {"minimal": True, "stride": 64}, (448, 640), 1.0, (0, 10.5)),
    ((100, 37), {"minimal": True}, (640, 256), 6.4, (9.5, 0)),
]


@pytest.mark.parametrize(("size_hw", "options", "frame_hw", "ratio", "pad_xy"), VECTORS)
def test_letterbox_gives_the_published_frame_ratio_and_pad(
    size_hw: tuple[int, int],
    options: dict[str, Any],
    frame_hw: tuple[int, int],
    ratio: float,
    pad_xy: tuple[float, float],
) -> None:
    fitted = letterbox(size_hw, (640, 640), **options)
    assert fitted.frame_hw == frame_hw
    assert fitted.content_hw == tuple(round(side * ratio) for side in size_hw)
    (frame_height, frame_width), (height, width) = fitted.frame_hw, fitted.content_hw
    assert ((frame_width - width) / 2, (frame_height - height) / 2) == pad_xy


def test_odd_borders_have_the_larger_half_after() -> None:
    fitted = letterbox((427, 640), (640, 640), minimal=True, stride=64)
    assert fitted.origin_xy == (0, 10)  # 10 above, 11 below


@pytest.mark.parametrize(
    ("aspects", "pad", "frame_hw"),
    [
        ((0.7, 0.75), 0.0, (480, 640)),
        ((0.7, 0.75), 0.5, (512, 672)),
        ((1.5, 1.6), 0.0, (640, 448)),
        ((1.5, 1.6), 0.5, (672, 448)),
        ((0.9, 1.1), 0.0, (640, 640)),
        ((0.9, 1.1), 0.5, (672, 672)),
    ],
)
def test_frames_of_batches_are_the_published_ones(
    aspects: tuple[float, float], pad: float, frame_hw: tuple[int, int]
) -> None:
    assert frame_for_aspects(*aspects, imgsz=640, stride=32, pad=pad) == frame_hw
