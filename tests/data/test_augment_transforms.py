"""Transforms of Albumentations under our keys: the same for a key, whatever came before; boxes inside; counted."""

from __future__ import annotations

import importlib
import os
import pickle
import random
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from synthetic_index import smooth_image, write_jpegs

from onelook.data.augment.colour import ColourChange
from onelook.data.augment.keys import SampleKey
from onelook.data.augment.labels import MIN_SIDE_PX
from onelook.data.augment.plan import Sample
from onelook.data.augment.transforms import UserTransforms, check_transforms
from onelook.data.dataset import Arrangement, TrainDataset
from onelook.data.loader import train_loader
from onelook.data.sampler import EpochItem, EpochOrder
from onelook.errors import SettingsError
from onelook.settings.hyperparameters import Hyperparameters
from onelook.settings.transforms import COMPOSITIONS, PIXEL_TRANSFORMS, SHAPE_TRANSFORMS

SIDE = 64
IMAGE = smooth_image(SIDE, SIDE, 3)
BOXES = np.array([[5.25, 6.5, 30.5, 40.75], [40.0, 40.0, 50.0, 55.5], [0.0, 0.0, 64.0, 64.0]])
CLASS_IDS = np.array([3, 4, 5])
NEEDED: dict[str, dict[str, Any]] = {
    "Affine": {"rotate": [-30, 30]},
    "CropAndPad": {"px": [-8, 8]},
    "GridElasticDeform": {"num_grid_xy": [4, 4], "magnitude": 5},
    "RandomResizedCrop": {"size": [SIDE, SIDE]},
    "RandomSizedBBoxSafeCrop": {"height": SIDE, "width": SIDE},
    "RandomSizedCrop": {"min_max_height": [32, 64], "size": [SIDE, SIDE]},
    "XYMasking": {"num_masks_x": 2, "mask_x_length": 8},
    "UnsharpMask": {"threshold": 0},
    "Superpixels": {"n_segments": 20},
}
UNCHANGED = {"NoOp", "RandomSizedBBoxSafeCrop"}  # the last box fills the image


@pytest.fixture(scope="module", autouse=True)
def albumentations() -> ModuleType:
    """The library, imported as a run does."""
    pytest.importorskip("albucore", reason="the extra `augment` is not installed")
    check_transforms([{"name": "NoOp"}])
    return importlib.import_module("albumentations")


def specification(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "p": 1, **NEEDED.get(name, {}), **changes}


def applied(transforms: UserTransforms, number: int) -> Sample:
    return transforms.apply(IMAGE.copy(), BOXES, CLASS_IDS, key=SampleKey(7, number, 1))


def equal(first: Sample, second: Sample) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(PIXEL_TRANSFORMS | SHAPE_TRANSFORMS))
def test_every_transform_that_is_offered_keeps_the_promises(name: str) -> None:
    before = np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state()  # noqa: NPY002
    one, other = UserTransforms([specification(name)]), UserTransforms([specification(name)])
    forwards = [applied(one, number) for number in range(3)]
    backwards = [applied(other, number) for number in (2, 1, 0)][::-1]
    assert all(equal(*pair) for pair in zip(forwards, backwards, strict=True)), "same key, same image"
    assert any((found.image != IMAGE).any() for found in forwards) == (name not in UNCHANGED)
    for found in forwards:
        assert found.image.shape == IMAGE.shape and found.image.dtype == np.uint8 and found.image.flags.c_contiguous
        assert (found.boxes >= 0).all() and (found.boxes <= SIDE).all()
        assert (found.boxes[:, 2:] - found.boxes[:, :2] > MIN_SIDE_PX).all()
        assert len(set(found.class_ids.tolist())) == 3 - found.num_dropped
    if name in PIXEL_TRANSFORMS:
        assert all(np.array_equal(found.boxes, BOXES) and found.num_dropped == 0 for found in forwards)
    empty = one.apply(IMAGE.copy(), np.zeros((0, 4)), np.zeros(0, np.int64), key=SampleKey(7, 0, 1))
    assert empty.boxes.shape == (0, 4) and empty.class_ids.dtype == np.int64 and empty.num_dropped == 0
    after = np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state()  # noqa: NPY002
    assert before[:2] == after[:2] and torch.equal(before[2], after[2]), "no global generator is used"


def test_names_say_what_the_library_does(albumentations: ModuleType) -> None:
    for name in PIXEL_TRANSFORMS:
        assert not issubclass(getattr(albumentations, name), albumentations.DualTransform)
    for name in PIXEL_TRANSFORMS | SHAPE_TRANSFORMS:
        assert issubclass(getattr(albumentations, name), albumentations.BasicTransform)
    for name in COMPOSITIONS:
        assert issubclass(getattr(albumentations, name), albumentations.BaseCompose)


@pytest.mark.parametrize("name", ["HorizontalFlip", "VerticalFlip", "Transpose"])
def test_boxes_go_with_their_pixels(name: str) -> None:
    found = applied(UserTransforms([specification(name)]), 0)
    x1, y1, x2, y2 = BOXES.T
    columns = {"HorizontalFlip": (64 - x2, y1, 64 - x1, y2), "VerticalFlip": (x1, 64 - y2, x2, 64 - y1)}
    np.testing.assert_allclose(found.boxes, np.stack(columns.get(name, (y1, x1, y2, x2)), axis=1), atol=1e-4)
    assert found.class_ids.tolist() == [3, 4, 5]


def test_boxes_that_a_crop_cuts_off_are_counted() -> None:
    crop = specification("RandomResizedCrop", scale=[0.1, 0.2])
    transforms = UserTransforms([crop])
    dropped = [applied(transforms, number).num_dropped for number in range(20)]
    assert 0 < sum(dropped) < 40 and max(dropped) <= 2, "the largest box is always there"


@pytest.mark.parametrize("composition", sorted(COMPOSITIONS))
def test_compositions_draw_from_the_key_too(composition: str) -> None:
    inner = [specification(name, p=0.5) for name in ("Rotate", "Blur", "InvertImg", "HorizontalFlip")]
    arguments = {"n": 2} if composition in ("SomeOf", "RandomOrder") else {}
    specifications = [{"name": composition, "p": 0.8, "transforms": inner, **arguments}]
    one, other = UserTransforms(specifications), pickle.loads(pickle.dumps(UserTransforms(specifications)))
    found = [applied(one, number) for number in range(12)]
    assert all(equal(applied(other, number), found[number]) for number in reversed(range(12)))
    assert len({item.image.tobytes() for item in found}) > 4


def test_transforms_of_a_list_draw_apart() -> None:
    both = UserTransforms([specification("HorizontalFlip", p=0.5), specification("VerticalFlip", p=0.5)])
    images = {applied(both, number).image.tobytes() for number in range(40)}
    assert len(images) == 4, "neither, one, the other, both"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"name": "Blur", "blur_limt": 7},
            "transform 1 of `transforms`, `Blur`: Argument(s) 'blur_limt' are not valid",
        ),
        ({"name": "Blur", "blur_limit": "wide"}, "`blur_limit"),
        ({"name": "Blur", "blur_limit": -3}, "`Blur`: blur_limit: Invalid kernel size range"),
        ({"name": "RandomResizedCrop"}, "size"),
        ({"name": "ToSepia", "tone": 1}, "`ToSepia`: ToSepia.__init__() got an unexpected keyword argument 'tone'"),
        ({"name": "OneOf", "transforms": [{"name": "Blur", "p": 0}]}, "`OneOf`: float division by zero"),
        ({"name": "OneOf", "transforms": [{"name": "Blur", "limit": 0}]}, "number 1 of its `OneOf` of `transforms`"),
    ],
)
def test_wrong_arguments_are_named_before_anything_begins(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_transforms([wrong])
    assert message in caught.value.message and "\n" not in caught.value.message
    assert "it takes `" in str(caught.value.hint)


def test_an_image_of_another_size_is_refused() -> None:
    transforms = UserTransforms([specification("RandomResizedCrop", size=[32, 48])])
    with pytest.raises(SettingsError, match="an image of 48 x 32 pixels of one of 64 x 64") as caught:
        applied(transforms, 0)
    assert "size: [64, 64]" in str(caught.value.hint)


@pytest.mark.parametrize(("version", "message"), [(None, "is not installed"), ("2.0.9", "is there in version 2.0.9")])
def test_a_missing_package_is_named_with_its_command(
    version: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(_: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError
        return version

    monkeypatch.setattr(metadata, "version", find)
    with pytest.raises(SettingsError, match=f"needs the package albumentations 2.0.8, which {message}") as caught:
        check_transforms([specification("Blur")])
    assert 'pip install "onelook[augment]"' in str(caught.value.hint)
    check_transforms([])


def test_nothing_looks_for_a_newer_version() -> None:
    checking = importlib.import_module("albumentations.check_version")
    assert checking.opener is None, "no connection was ever prepared"
    assert "NO_ALBUMENTATIONS_UPDATE" not in os.environ


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_for_any_number_of_workers_and_counts_travel(tmp_path: Path, workers: int) -> None:
    index = write_jpegs(tmp_path / "images", [(48, 64), (64, 48), (64, 64), (30, 64), (64, 50), (40, 64)])
    hyp = Hyperparameters(transforms=[specification("RandomResizedCrop", scale=[0.05, 0.2]), specification("Blur")])
    dataset = TrainDataset(index, hyp, imgsz=64, seed=1)
    batches = list(train_loader(dataset, EpochOrder(1, 6, 3, 2), workers=workers))
    alone = [dataset[(EpochItem(epoch, number),)] for epoch in range(2) for number in range(6)]
    assert sum(item.info.num_dropped_boxes for item in alone) > 0
    found = [info for batch in batches for info in batch.infos]
    assert sorted(map(repr, found)) == sorted(repr(item.info) for item in alone)
    by_image = {item.info.path: item.image for item in alone[6:]}
    for batch in batches[2:]:
        for image, info in zip(batch.images, batch.infos, strict=True):
            assert torch.equal(image, by_image[info.path])


def test_transforms_come_before_colours_and_grids(tmp_path: Path) -> None:
    index = write_jpegs(tmp_path / "images", [(64, 64)] * 4)
    still = {"mosaic": 0.0, "translate": 0.0, "scale": 0.0, "fliplr": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.4}
    inverted = Hyperparameters(**still, transforms=[specification("InvertImg"), specification("RandomResizedCrop")])
    twice = TrainDataset(index, inverted, imgsz=64, seed=0, arrangement=Arrangement(quad=True))
    slots = tuple(EpochItem(0, number) for number in range(4))
    grid = twice[slots]
    assert grid.info.num_dropped_boxes == sum(twice[(slot,)].info.num_dropped_boxes for slot in slots)
    plain = TrainDataset(index, Hyperparameters(**still | {"hsv_v": 0.0}), imgsz=64, seed=0)[(slots[0],)]
    only = Hyperparameters(**still, transforms=[specification("InvertImg")])
    changed = TrainDataset(index, only, imgsz=64, seed=0)
    gain = next(step.gains[2] for step in changed.plan(slots[0]).steps if isinstance(step, ColourChange))
    value = (255 - plain.image.numpy().transpose(1, 2, 0)).max(axis=2)
    expected = np.clip(value * gain, 0, 255).astype(np.uint8)
    got = changed[(slots[0],)].image.numpy().max(axis=0)
    assert np.abs(expected.astype(int) - got).max() <= 1 and cv2.countNonZero(expected) > 0
