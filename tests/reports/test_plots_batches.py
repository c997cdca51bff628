"""Mosaics of training batches, and of labels beside predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from plots_examples import AWKWARD_NAMES, drawn, make_batch

from onelook.drawing.palette import class_colour
from onelook.reports.plots.batches import MOSAIC_WIDTH_PX, plot_batch, plot_labels_and_predictions, write_image
from onelook.structures.detections import Detections
from onelook.structures.sample import ImageLabels

NAMES = ("WBC", "RBC", "Platelets")
NO_LABELS = ImageLabels(np.zeros((0, 4)), np.zeros(0, np.int64))


def share_of_colour(image: np.ndarray, class_id: int) -> float:
    distance = np.abs(image.astype(np.int64) - np.array(class_colour(class_id))).max(axis=2)
    return float((distance < 40).mean())


def box(class_id: int, score: float | None = None) -> ImageLabels | Detections:
    corners, ids = np.array([[20.0, 30.0, 90.0, 80.0]]), np.array([class_id])
    if score is None:
        return ImageLabels(corners, ids)
    return Detections(corners.astype(np.float32), np.array([score], np.float32), ids)


@pytest.mark.parametrize("num_images", [1, 2, 5, 16, 40])
def test_batch_mosaic_shows_up_to_16_images(tmp_path: Path, num_images: int) -> None:
    path = plot_batch(make_batch(num_images), NAMES, tmp_path / "train_batch0.jpg")
    image = drawn(path)
    columns = int(np.ceil(np.sqrt(min(num_images, 16))))
    rows = int(np.ceil(min(num_images, 16) / columns))
    assert image.shape[1] <= MOSAIC_WIDTH_PX + 50
    cell_height = image.shape[0] / rows
    cell_width = image.shape[1] / columns
    assert cell_height / cell_width == pytest.approx(96 / 128, rel=0.2)


def test_batch_mosaic_is_repeatable_and_leaves_the_batch_alone(tmp_path: Path) -> None:
    batch = make_batch(3)
    before = batch.images.clone()
    first = plot_batch(batch, NAMES, tmp_path / "a.jpg").read_bytes()
    assert plot_batch(batch, NAMES, tmp_path / "b.jpg").read_bytes() == first
    assert (batch.images == before).all()


def test_batch_without_boxes_and_with_awkward_names(tmp_path: Path) -> None:
    bare = drawn(plot_batch(make_batch(4, boxes_per_image=0), NAMES, tmp_path / "bare.png"))
    boxed = drawn(plot_batch(make_batch(4), AWKWARD_NAMES, tmp_path / "boxed.png"))
    assert bare.shape == boxed.shape
    assert share_of_colour(bare, 0) == 0
    assert share_of_colour(boxed, 0) > 0


def test_captions_say_how_many_images_an_image_holds(tmp_path: Path) -> None:
    batch = make_batch(1)
    plain = drawn(plot_batch(batch, NAMES, tmp_path / "plain.png"))
    grid = replace(batch, infos=(replace(batch.infos[0], num_images=4),))
    captioned = drawn(plot_batch(grid, NAMES, tmp_path / "grid.png"))
    assert (plain[40:] == captioned[40:]).all() and (plain[:40] != captioned[:40]).any()


def test_boxes_lie_where_the_targets_say(tmp_path: Path) -> None:
    """A box is drawn around a white square: within its lines all is white."""
    batch = make_batch(1, height=320, width=320, boxes_per_image=1)
    batch.images[:] = 60
    batch.images[:, :, 80:240, 160:288] = 255
    batch.targets.boxes[:] = batch.targets.boxes.new_tensor([[0.7, 0.5, 0.4, 0.5]])
    batch.targets.class_ids[:] = 1
    image = drawn(plot_batch(batch, NAMES, tmp_path / "one.png")).astype(np.int64)
    lines = np.argwhere((image == np.array(class_colour(1))).all(axis=2))
    white = np.argwhere((image[40:] == 255).all(axis=2)) + np.array([40, 0])
    inside = white[(white[:, 1] > 20) & (white[:, 1] < image.shape[1] - 20) & (white[:, 0] < image.shape[0] - 20)]
    assert np.abs(inside.max(axis=0) - lines.max(axis=0)).max() <= 5
    assert abs(inside[:, 1].min() - lines[:, 1].min()) <= 5


def test_every_image_has_its_own_boxes(tmp_path: Path) -> None:
    batch = make_batch(2, boxes_per_image=1)
    batch.images[:] = 128
    batch.targets.class_ids[:] = batch.targets.class_ids.new_tensor([0, 1])
    image = drawn(plot_batch(batch, NAMES, tmp_path / "two.png"))
    halves = image[:, : image.shape[1] // 2], image[:, image.shape[1] // 2 :]
    for own, half in enumerate(halves):
        assert share_of_colour(half, own) > 0.001
        assert share_of_colour(half, 1 - own) == 0


def test_labels_stand_left_and_prediction_right(tmp_path: Path) -> None:
    grey = np.full((100, 120, 3), 128, np.uint8)
    path = plot_labels_and_predictions([grey], [box(0)], [box(1, 0.9)], NAMES, tmp_path / "val_batch0.jpg", files=["a"])
    image = drawn(path)
    left, right = image[:, : image.shape[1] // 2], image[:, image.shape[1] // 2 :]
    assert share_of_colour(left, 0) > 0.001 > share_of_colour(left, 1)
    assert share_of_colour(right, 1) > 0.001 > share_of_colour(right, 0)


def test_an_image_carries_the_name_of_its_file(tmp_path: Path) -> None:
    grey = np.full((300, 400, 3), 128, np.uint8)
    one, other = (
        drawn(plot_labels_and_predictions([grey], [box(0)], [box(1, 0.9)], NAMES, tmp_path / "val.png", files=[name]))
        for name in ("bee.jpg", "wasp.jpg")
    )
    assert (one != other).any()


def test_unsure_predictions_are_left_out(tmp_path: Path) -> None:
    grey = np.full((100, 120, 3), 128, np.uint8)
    for confidence, is_seen in ((0.25, False), (0.26, True)):
        found = box(1, confidence)
        path = plot_labels_and_predictions([grey], [NO_LABELS], [found], NAMES, tmp_path / "val.jpg", files=["a"])
        assert (share_of_colour(drawn(path), 1) > 0.001) == is_seen


@pytest.mark.parametrize("sizes", [[(100, 120)], [(300, 40), (40, 300), (7, 5)], [(480, 640)] * 12, []])
def test_images_of_any_size_and_number_without_boxes(tmp_path: Path, sizes: list[tuple[int, int]]) -> None:
    images = [np.full((*size, 3), 90, np.uint8) for size in sizes]
    path = plot_labels_and_predictions(
        images,
        [NO_LABELS] * len(sizes),
        [Detections.empty()] * len(sizes),
        NAMES,
        tmp_path / "val.jpg",
        files=["a"] * len(sizes),
    )
    image = drawn(path)
    assert image.shape[1] <= MOSAIC_WIDTH_PX + 50


def test_unequal_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        plot_labels_and_predictions([np.zeros((9, 9, 3), np.uint8)], [], [], NAMES, tmp_path / "val.jpg", files=[])


def test_jpeg_keeps_the_colour_of_thin_lines(tmp_path: Path) -> None:
    image = np.full((64, 64, 3), 128, np.uint8)
    image[:, 33] = class_colour(0)
    write_image(tmp_path / "line.jpg", image)
    line = cv2.imread(str(tmp_path / "line.jpg"))[..., ::-1][:, 33].astype(np.int64)
    assert np.abs(line - np.array(class_colour(0))).max() < 25
