"""Drawing axis-aligned images by resizing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from synthetic_index import smooth_image

from onelook.data.augment.axis_aligned import draw_axis_aligned
from onelook.geometry.affine import scaling, translation

IMAGE = smooth_image(40, 60, 5)


@pytest.mark.parametrize("gain", [0.6, 1.0, 1.7])
@pytest.mark.parametrize(("sign_x", "sign_y"), [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("anchor", [(0, 0), (60, 0), (0, 40), (60, 40)])
def test_images_anchored_at_any_corner_and_mirrored_anyhow_are_resized(
    gain: float, sign_x: int, sign_y: int, anchor: tuple[int, int]
) -> None:
    matrix = translation(50, 40) @ scaling(sign_x * gain, sign_y * gain) @ translation(-anchor[0], -anchor[1])
    corners = np.array([[0, 0], [60, 40]]) * (sign_x * gain, sign_y * gain) + matrix[:2, 2]
    (left, top), (right, bottom) = np.ceil(np.sort(corners, axis=0) - 0.5 - 1e-6).astype(int).tolist()
    for box in ((left, top, right, bottom), (left + 4, top + 3, right - 4, bottom - 3)):
        target = np.zeros((box[3] - box[1], box[2] - box[0], 3), np.uint8)
        assert draw_axis_aligned(IMAGE, matrix, box=box, target=target)
        to_indices = translation(-0.5 - box[0], -0.5 - box[1]) @ matrix @ translation(0.5, 0.5)
        size = (target.shape[1], target.shape[0])
        expected = cv2.warpAffine(IMAGE, to_indices[:2], size, borderMode=cv2.BORDER_REPLICATE)
        assert np.abs(target.astype(int) - expected).max() <= 3


def test_images_whose_edges_lie_between_pixels_are_left_to_a_warp() -> None:
    target = np.zeros((20, 20, 3), np.uint8)
    matrix = translation(0.5, 0) @ scaling(0.7, 0.7)
    assert not draw_axis_aligned(IMAGE, matrix, box=(5, 5, 25, 25), target=target)
    assert not target.any()


def test_small_parts_far_from_the_edge_are_left_to_a_warp() -> None:
    target = np.zeros((3, 3, 3), np.uint8)
    assert not draw_axis_aligned(IMAGE, scaling(2, 2), box=(60, 40, 63, 43), target=target)
