"""What holds for every training image, whatever the data and the settings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from onelook.data.augment.augmentations import draw_plan
from onelook.data.augment.keys import SampleKey
from onelook.data.augment.labels import MIN_SIDE_PX, labels_of_plan
from onelook.data.augment.region import pixel_box, pixel_mask, visible_region
from onelook.data.augment.render_cpu import render_plan
from onelook.geometry.affine import mirror, transform_points
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex

SIDE = 64


@dataclass(frozen=True)
class Made:
    """A random dataset and its pixels."""

    index: DatasetIndex
    arrays: list[npt.NDArray[np.uint8]]

    def image(self, number: int) -> npt.NDArray[np.uint8]:
        return self.arrays[number]


@st.composite
def datasets(draw: st.DrawFn) -> Made:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    num_images = draw(st.integers(1, 6))
    sizes = [(SIDE, int(rng.integers(1, SIDE + 1)))[:: rng.choice([1, -1])] for _ in range(num_images)]
    counts = rng.integers(0, draw(st.sampled_from([1, 4])), num_images)
    total = int(counts.sum())
    boxes = np.concatenate([rng.uniform(-0.1, 1.1, (total, 2)), rng.uniform(0, 1.2, (total, 2))], axis=1)
    points_per_label = rng.choice([0, 3, 8], total) * draw(st.sampled_from([0, 1]))
    index = DatasetIndex(
        paths=tuple(str(number) for number in range(num_images)),
        sizes_hw=np.array(sizes, np.int32),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        class_ids=rng.integers(0, 9, total),
        boxes=boxes.astype(np.float32),
        polygon_offsets=np.concatenate([[0], np.cumsum(points_per_label)]).astype(np.int64),
        polygon_points=rng.uniform(-0.05, 1.05, (int(points_per_label.sum()), 2)).astype(np.float32),
        fingerprint="",
    )
    return Made(index, [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes])


HYPERPARAMETERS = st.builds(
    Hyperparameters,
    degrees=st.sampled_from([0.0, 45.0, 180.0]),
    translate=st.floats(0, 1),
    scale=st.floats(0, 0.95),
    shear=st.sampled_from([0.0, 30.0]),
    perspective=st.sampled_from([0.0, 0.001]),
    flipud=st.sampled_from([0.0, 0.5]),
    mosaic=st.sampled_from([0.0, 1.0]),
    mosaic9=st.sampled_from([0.0, 0.5, 1.0]),
    mixup=st.sampled_from([0.0, 1.0]),
    copy_paste=st.sampled_from([0.0, 1.0]),
)
KEYS = st.builds(SampleKey, seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 2**24 - 1), index=st.just(0))
FRAMES = st.sampled_from([(SIDE, SIDE), (32, SIDE), (SIDE, 96)])


@settings(max_examples=60)
@given(datasets(), HYPERPARAMETERS, KEYS, FRAMES)
def test_samples_are_whole_and_their_boxes_inside_and_not_empty(
    made: Made, hyperparameters: Hyperparameters, key: SampleKey, frame: tuple[int, int]
) -> None:
    plans = [
        draw_plan(made.index, hyperparameters, key=key, output_hw=frame, mosaic_allowed=frame[0] == frame[1])
        for _ in range(2)
    ]
    images = [render_plan(plan, made.index, made) for plan in plans]
    assert images[0].shape == (*frame, 3) and images[0].dtype == np.uint8
    np.testing.assert_array_equal(images[0], images[1])
    boxes, class_ids = labels_of_plan(made.index, plans[0])
    assert len(boxes) == len(class_ids) and np.isfinite(boxes).all()
    assert (boxes >= 0).all() and (boxes[:, [0, 2]] <= frame[1]).all() and (boxes[:, [1, 3]] <= frame[0]).all()
    assert (boxes[:, 2:] - boxes[:, :2] > MIN_SIDE_PX).all()


@settings(max_examples=60)
@given(datasets(), HYPERPARAMETERS, KEYS)
def test_tiles_of_a_mosaic_share_no_pixel(made: Made, hyperparameters: Hyperparameters, key: SampleKey) -> None:
    plan = draw_plan(made.index, hyperparameters, key=key, output_hw=(SIDE, SIDE))
    covered = np.zeros((SIDE, SIDE), int)
    for tile in plan.tiles:
        region = visible_region(tile, plan.output_hw)
        if len(region):
            left, top, right, bottom = box = pixel_box(region)
            assert 0 <= left <= right <= SIDE and 0 <= top <= bottom <= SIDE
            covered[top:bottom, left:right] += pixel_mask(region, box) > 0
    assert covered.max() <= 1


@given(st.integers(1, 2000), st.integers(1, 2000), st.booleans(), st.booleans())
def test_two_equal_flips_change_nothing(width: int, height: int, left_right: bool, up_down: bool) -> None:
    flip = mirror(width, height, left_right=left_right, up_down=up_down)
    np.testing.assert_allclose(flip @ flip, np.eye(3))
    inside = transform_points(flip, np.array([[0.25, 0.5], [width - 0.5, height - 0.25]]))
    assert (inside > 0).all() and (inside < (width, height)).all()


def clearly_kept(boxes: np.ndarray) -> np.ndarray:
    """Without those on the brink: a strip of exactly 2 pixels is dropped or kept by rounding."""
    return boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) > MIN_SIDE_PX + 1e-5]


@settings(max_examples=60)
@given(datasets(), KEYS)
def test_boxes_follow_the_pixels_of_a_flip(made: Made, key: SampleKey) -> None:
    straight, flipped = (
        draw_plan(made.index, hyperparameters, key=key, output_hw=(SIDE, SIDE))
        for hyperparameters in (Hyperparameters(hsv_h=0, hsv_s=0, hsv_v=0, fliplr=chance) for chance in (0, 1))
    )
    difference = render_plan(flipped, made.index, made)[:, ::-1].astype(int) - render_plan(straight, made.index, made)
    assert np.abs(difference).mean() < 1.5  # rounding of the filters; these images are noise
    before, after = (clearly_kept(labels_of_plan(made.index, plan)[0]) for plan in (straight, flipped))
    assert len(before) == len(after)
    np.testing.assert_allclose(SIDE - after[:, [2, 0]], before[:, [0, 2]], atol=1e-6)
