"""Training and validation items, and batches of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from synthetic_index import make_index, smooth_image, write_jpegs

from onelook.data.dataset import Arrangement, TrainDataset, ValidationDataset
from onelook.data.image_weights import ImageWeights
from onelook.data.item import collate
from onelook.data.rectangles import similar_shapes
from onelook.data.sampler import EpochItem
from onelook.errors import DataError
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex

SIZES = [(48, 64), (64, 48), (100, 130), (64, 64), (30, 64), (24, 20)]


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    return write_jpegs(tmp_path / "images", SIZES)


def test_training_items_have_pixels_side_by_side_and_boxes_inside(index: DatasetIndex) -> None:
    dataset = TrainDataset(index, Hyperparameters(degrees=10, mixup=0.5), imgsz=64, seed=0)
    for epoch in range(5):
        for number in range(len(index)):
            image, boxes, class_ids, info = dataset[(EpochItem(epoch, number),)]
            assert image.shape == (3, 64, 64) and image.dtype == torch.uint8
            assert image.permute(1, 2, 0).is_contiguous()
            assert boxes.dtype == torch.float32 and class_ids.dtype == torch.int64 and len(boxes) == len(class_ids)
            assert ((boxes[:, :2] - boxes[:, 2:] / 2) > -1e-6).all() and (
                (boxes[:, :2] + boxes[:, 2:] / 2) < 1 + 1e-6
            ).all()
            assert (boxes[:, 2:] > 0).all()
            assert (info.index, info.path, info.size_hw) == (number, index.paths[number], SIZES[number])


def test_equal_keys_give_equal_items_and_other_seeds_others(index: DatasetIndex) -> None:
    first, again, other = (
        TrainDataset(index, Hyperparameters(), imgsz=64, seed=seed)[(EpochItem(3, 1),)] for seed in (5, 5, 6)
    )
    assert torch.equal(first.image, again.image) and torch.equal(first.boxes_cxcywh_norm, again.boxes_cxcywh_norm)
    assert not torch.equal(first.image, other.image)


def test_mosaics_end_with_the_epoch_that_was_asked_for(index: DatasetIndex) -> None:
    dataset = TrainDataset(
        index, Hyperparameters(mixup=1.0), imgsz=64, seed=0, arrangement=Arrangement(mosaic_epochs=2)
    )
    assert [len(dataset.plan(EpochItem(epoch, 0)).tiles) for epoch in range(4)] == [4, 4, 1, 1]
    assert [bool(dataset.plan(EpochItem(epoch, 0)).partner) for epoch in range(4)] == [True, True, False, False]


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((64, 64, 3), (0, 0, 255), np.uint8))
    index = make_index([(64, 64)], paths=[str(path)])
    still = Hyperparameters(hsv_h=0, hsv_s=0, hsv_v=0, scale=0, translate=0, mosaic=0)
    for item in (
        TrainDataset(index, still, imgsz=64, seed=0)[(EpochItem(0, 0),)],
        ValidationDataset(index, imgsz=64, batch_size=1, pad=0).sample(0),
    ):
        assert item.image.flatten(1).float().mean(dim=1).tolist() == [255, 0, 0]


def test_rectangular_training_puts_an_image_into_the_frame_of_its_batch(index: DatasetIndex) -> None:
    rectangles = similar_shapes(index.sizes_hw, imgsz=64, batch_size=2)
    dataset = TrainDataset(index, Hyperparameters(), imgsz=64, seed=0, arrangement=Arrangement(rectangles))
    for number in range(len(index)):
        assert tuple(dataset[(EpochItem(0, number),)].image.shape[1:]) == rectangles.frame_of(number)
        assert len(dataset.plan(EpochItem(0, number)).tiles) == 1


@pytest.mark.parametrize("frame_hw", [None, (64, 64), (32, 64)])
def test_validation_boxes_lead_back_to_the_original_image(
    index: DatasetIndex, frame_hw: tuple[int, int] | None
) -> None:
    dataset = ValidationDataset(index, imgsz=64, batch_size=2, frame_hw=frame_hw)
    for number in range(len(index)):
        image, boxes, class_ids, info = dataset.sample(number)
        height, width = image.shape[1:]
        centres = (boxes[:, :2].double().numpy() * (width, height) - info.pad_xy) / info.gain_xy
        own = index.image_labels(number)
        np.testing.assert_allclose(centres, (own.boxes[:, :2] + own.boxes[:, 2:]) / 2, atol=1e-3)
        assert class_ids.tolist() == own.class_ids.tolist()
        assert (height, width) == (frame_hw or dataset.rectangles.frame_of(number))


def test_validation_pixels_are_those_of_the_file_in_a_grey_frame(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    image = smooth_image(48, 64, 1)
    cv2.imwrite(str(path), image[..., ::-1])
    item = ValidationDataset(
        make_index([(48, 64)], paths=[str(path)]), imgsz=64, batch_size=1, frame_hw=(64, 64)
    ).sample(0)
    planes = item.image.numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(planes[8:56], image)
    assert (planes[:8] == 114).all() and (planes[56:] == 114).all()
    assert item.info.pad_xy == (0.0, 8.0)


def test_square_validation_does_not_depend_on_the_batch_size(index: DatasetIndex) -> None:
    one, many = (ValidationDataset(index, imgsz=64, batch_size=size, frame_hw=(64, 64)) for size in (1, 4))
    for number in range(len(index)):
        assert torch.equal(one.sample(number).image, many.sample(number).image)


def test_batches_number_their_images_and_keep_every_box(index: DatasetIndex) -> None:
    dataset = ValidationDataset(index, imgsz=64, batch_size=6, frame_hw=(64, 64))
    items = [dataset.sample(number) for number in range(6)]
    batch = collate(items)
    assert batch.images.shape == (6, 3, 64, 64)
    assert batch.targets.image_index.tolist() == [1, 2, 2, 4, 5, 5]
    assert torch.equal(batch.targets.boxes, torch.cat([item.boxes_cxcywh_norm for item in items]))
    assert [info.index for info in batch.infos] == list(range(6))


def test_a_batch_without_any_box_is_a_batch(index: DatasetIndex) -> None:
    dataset = ValidationDataset(index, imgsz=64, batch_size=6, frame_hw=(64, 64))
    batch = collate([dataset.sample(0), dataset.sample(3)])
    assert len(batch.targets) == 0 and batch.targets.boxes.shape == (0, 4)


def test_boxes_without_area_in_the_image_are_left_out_of_validation(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), smooth_image(48, 64, 1))
    labels = [[(0, 0.5, 0.5, 0.0, 0.2), (1, 1.2, 0.5, 0.2, 0.2), (2, 0.95, 0.5, 0.2, 0.2)]]
    item = ValidationDataset(make_index([(48, 64)], labels, paths=[str(path)]), imgsz=64, batch_size=1, pad=0).sample(0)
    assert item.class_ids.tolist() == [2]
    np.testing.assert_allclose(item.boxes_cxcywh_norm.numpy(), [[0.925, 0.5, 0.15, 0.15]], atol=1e-6)  # 48 of 64 rows


def test_images_that_vanish_after_the_scan_are_named(index: DatasetIndex) -> None:
    Path(index.paths[3]).unlink()
    with pytest.raises(DataError, match=r"003\.jpg"):
        ValidationDataset(index, imgsz=64, batch_size=1).sample(3)


def test_images_that_change_their_size_after_the_scan_are_named_with_a_cure(index: DatasetIndex) -> None:
    Path(index.paths[0]).replace(index.paths[1])
    with pytest.raises(DataError, match=r"001\.jpg.*no longer has the 48 x 64 pixels") as caught:
        ValidationDataset(index, imgsz=64, batch_size=1).sample(1)
    assert "scanned again" in (caught.value.hint or "")


def test_samples_of_quad_have_twice_the_size(index: DatasetIndex) -> None:
    plain, twice = (
        TrainDataset(index, Hyperparameters(), imgsz=64, seed=0, arrangement=Arrangement(quad=quad))
        for quad in (False, True)
    )
    slots = tuple(EpochItem(0, number) for number in range(4))
    grid, alone = twice[slots], twice[slots[:1]]
    assert grid.image.shape == alone.image.shape == (3, 128, 128)
    assert (grid.info.num_images, alone.info.num_images) == (4, 1)
    items = [plain[(slot,)] for slot in slots]
    assert torch.equal(grid.image[:, 64:, :64], items[1].image), "the second lies below the first"
    assert torch.equal(alone.boxes_cxcywh_norm, items[0].boxes_cxcywh_norm)
    assert len(grid.class_ids) == sum(len(item.class_ids) for item in items)


def test_drawn_images_and_their_partners_come_from_the_draw_and_look_different(index: DatasetIndex) -> None:
    labelled = [number for number in range(len(index)) if number % 3]
    weights = ImageWeights(index, num_classes=2, seed=0)
    dataset = TrainDataset(index, Hyperparameters(mixup=1), imgsz=64, seed=0, arrangement=Arrangement(weights=weights))
    drawn = weights.draw(1, ())
    plans = [dataset.plan(EpochItem(1, number)) for number in range(len(index))]
    assert [plan.image for plan in plans] == drawn.tolist()
    assert {tile.source for plan in plans for tile in (*plan.tiles, *plan.partner)} <= set(labelled)
    twice = next(image for image in drawn.tolist() if (drawn == image).sum() > 1)
    first, second = (dataset[(EpochItem(1, int(number)),)] for number in np.flatnonzero(drawn == twice)[:2])
    assert first.info == second.info and not torch.equal(first.image, second.image)
    assert first.info.path == index.paths[twice]
