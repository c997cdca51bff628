"""Images of twice the size: how images are grouped, and where they and their boxes go."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from synthetic_index import smooth_image

from onelook.data import quad
from onelook.data.augment.resize import FILL
from onelook.data.item import Item, make_item
from onelook.structures.batch import ImageInfo

HW = (24, 32)
BOX = [4.0, 6.0, 16.0, 12.0]  # xyxy, pixels


def item(number: int) -> Item:
    image = smooth_image(*HW, number)
    return make_item(image, np.array([BOX]), np.array([number]), ImageInfo(number, f"{number}.jpg", HW))


@pytest.mark.parametrize(
    ("batch_size", "images", "sizes"),
    [
        (16, 10, [1, 1, 4, 4]),
        (16, 9, [1, 1, 4, 3]),
        (16, 7, [1, 1, 4, 1]),
        (16, 2, [1, 1]),
        (16, 1, [1]),
        (8, 5, [1, 4]),
        (4, 4, [4]),
        (4, 3, [3]),
        (12, 9, [1, 4, 4]),
        (2, 4, [4]),
        (64, 40, [1] * 8 + [4] * 8),
    ],
)
def test_half_of_the_samples_show_one_image_and_the_rest_four(batch_size: int, images: int, sizes: list[int]) -> None:
    samples = quad.grouped(range(images), batch_size)
    assert [len(sample) for sample in samples] == sizes and len(samples) == quad.num_samples(images, batch_size)
    assert [key for sample in samples for key in sample] == list(range(images))
    assert images <= quad.num_images(batch_size)


@pytest.mark.parametrize("batch_size", [4, 8, 12, 16, 20, 64])
def test_a_full_batch_has_a_quarter_of_the_samples(batch_size: int) -> None:
    assert quad.num_samples(quad.num_images(batch_size), batch_size) == batch_size // 4


def test_a_grid_holds_each_image_in_its_quarter_with_its_boxes() -> None:
    items = [item(number) for number in range(4)]
    grid = quad.at_twice_the_size(items)
    assert grid.image.shape == (3, 48, 64) and grid.class_ids.tolist() == [0, 1, 2, 3]
    assert grid.info.path == "0.jpg" and grid.info.num_images == 4
    for number, (top, left) in enumerate([(0, 0), (24, 0), (0, 32), (24, 32)]):
        assert torch.equal(grid.image[:, top : top + 24, left : left + 32], items[number].image)
        x, y, width, height = (grid.boxes_cxcywh_norm[number] * torch.tensor([64, 48, 64, 48])).tolist()
        corners = [x - width / 2 - left, y - height / 2 - top, x + width / 2 - left, y + height / 2 - top]
        assert corners == pytest.approx(BOX, abs=1e-4)


def test_missing_quarters_are_grey() -> None:
    grid = quad.at_twice_the_size([item(0), item(1)])
    assert (grid.image[:, :, 32:] == FILL).all() and len(grid.boxes_cxcywh_norm) == 2 == grid.info.num_images


def test_one_image_is_enlarged_with_its_boxes() -> None:
    small = item(3)
    large = quad.at_twice_the_size([small])
    assert large.image.shape == (3, 48, 64) and large.image.permute(1, 2, 0).is_contiguous()
    assert torch.equal(large.boxes_cxcywh_norm, small.boxes_cxcywh_norm) and large.info == small.info
    planes = [cv2.resize(plane, (64, 48)) for plane in np.ascontiguousarray(small.image.numpy())]
    assert torch.equal(large.image, torch.from_numpy(np.stack(planes)))
    means = large.image.float().reshape(3, 24, 2, 32, 2).mean(dim=(2, 4))
    assert (means - small.image).abs()[:, 1:-1, 1:-1].mean() < 2, "every pixel has become four"
