"""The renderer for devices, run on the CPU, against the one of OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_index import ArrayImages, make_index, smooth_image

from onelook.data.augment import render_gpu
from onelook.data.dataset import Arrangement, TrainDataset
from onelook.data.planned import PlannedDataset
from onelook.data.rectangles import similar_shapes
from onelook.data.sampler import EpochItem
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Batch

SIDE = 64
SIZES = [(48, 64), (64, 48), (64, 64), (27, 64), (64, 21), (33, 40), (6, 64), (1, 5)]
LABELS = [[(n % 3, 0.3, 0.4, 0.3, 0.5), (1, 0.7, 0.6, 0.2, 0.2)] for n in range(len(SIZES))]
HEART = [(0.2, 0.2), (0.5, 0.3), (0.8, 0.2), (0.5, 0.6)]
INDEX = make_index(SIZES, LABELS, polygons=dict.fromkeys(range(0, 16, 2), HEART))


def detailed_image(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """Smooth areas with edges and some noise."""
    rng = np.random.default_rng(seed)
    image = smooth_image(height, width, seed).astype(float) + rng.normal(0, 3, (height, width, 3))
    image[height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, 3)
    return image.clip(0, 255).astype(np.uint8)


IMAGES = ArrayImages([detailed_image(h, w, n) for n, (h, w) in enumerate(SIZES)])
NO_COLOUR = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
HYPERPARAMETERS = {
    "resized": {"scale": 0.5},
    "nine": {"mosaic9": 1.0, "scale": 0.5, "flipud": 0.5},
    "small": {"scale": 0.95, "mosaic": 0.5},
    "turned": {"degrees": 30.0, "shear": 10.0, "scale": 0.9},
    "tilted": {"degrees": 10.0, "perspective": 0.001, "mosaic9": 0.5},
    "blended": {"mixup": 0.7, "scale": 0.9},
    "pasted": {"copy_paste": 1.0, "mixup": 0.3, "degrees": 5.0},
    "alone": {"mosaic": 0.0},
    "colourless": NO_COLOUR,
}


def hyperparameters(name: str) -> Hyperparameters:
    return Hyperparameters(**HYPERPARAMETERS[name])


def both(
    hyperparameters: Hyperparameters,
    epoch: int,
    *,
    seed: int = 3,
    images: ArrayImages = IMAGES,
    arrangement: Arrangement | None = None,
    numbers: Sequence[int] = range(len(SIZES)),
) -> tuple[Batch, Batch]:
    """A batch as OpenCV makes it, and as torch does."""
    dataset = TrainDataset(INDEX, hyperparameters, imgsz=SIDE, seed=seed, cache=images, arrangement=arrangement)
    places = [(EpochItem(epoch, number),) for number in numbers]
    return dataset.batch(places), PlannedDataset(dataset).batch(places).rendered(torch.device("cpu"))


def differences(ours: Batch, theirs: Batch) -> npt.NDArray[np.int64]:
    """(B, H, W) largest of the channels."""
    return np.abs(ours.images.numpy().astype(int) - theirs.images.numpy()).max(axis=1)


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_pixels_are_those_of_opencv_and_labels_are_equal(name: str) -> None:
    found = []
    for epoch in range(3):
        expected, made = both(hyperparameters(name), epoch)
        assert made.images.shape == expected.images.shape
        assert made.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(made.targets.boxes, expected.targets.boxes)
        assert torch.equal(made.targets.class_ids, expected.targets.class_ids)
        assert torch.equal(made.targets.image_index, expected.targets.image_index)
        assert made.infos == expected.infos
        found.append(differences(made, expected))
    assert np.mean(np.stack(found) <= 1) >= 0.995


@pytest.mark.parametrize("name", ["resized", "turned", "blended"])
def test_an_image_does_not_depend_on_its_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the other images, nor on how many are made at a time."""
    dataset = PlannedDataset(TrainDataset(INDEX, hyperparameters(name), imgsz=SIDE, seed=3, cache=IMAGES))
    cpu = torch.device("cpu")
    places = [(EpochItem(0, number),) for number in range(len(SIZES))]
    together = dataset.batch(places).rendered(cpu).images
    alone = [dataset.batch([place]).rendered(cpu).images for place in places]
    assert torch.equal(torch.cat(alone), together)
    monkeypatch.setattr(render_gpu, "PIXELS_AT_A_TIME", 3 * SIDE**2)
    assert torch.equal(dataset.batch(places).rendered(cpu).images, together)


def test_frames_of_rect_are_rendered_too() -> None:
    rectangles = similar_shapes(INDEX.sizes_hw, imgsz=SIDE, batch_size=2)
    chosen, arrangement = rectangles.batch(0), Arrangement(rectangles=rectangles)
    expected, made = both(hyperparameters("colourless"), 0, arrangement=arrangement, numbers=chosen)
    assert made.images.shape[2] != made.images.shape[3]
    assert np.mean(differences(made, expected) <= 1) >= 0.995


def test_a_share_without_images_is_empty() -> None:
    dataset = PlannedDataset(TrainDataset(INDEX, Hyperparameters(), imgsz=SIDE, seed=3, cache=IMAGES))
    assert dataset.batch([]).images.shape == (0, 3, SIDE, SIDE)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**63 - 1),
    scale=st.floats(0, 0.95),
    degrees=st.sampled_from([0.0, 45.0, 180.0]),
    perspective=st.sampled_from([0.0, 0.001]),
    mosaic=st.sampled_from([0.0, 1.0]),
    mosaic9=st.sampled_from([0.0, 1.0]),
    mixup=st.sampled_from([0.0, 1.0]),
    copy_paste=st.sampled_from([0.0, 1.0]),
)
def test_every_plan_is_drawn_as_opencv_draws_it(seed: int, **given: float) -> None:
    """Before the colours, which make a step of hue out of a level."""
    noise = [np.random.default_rng(n).integers(0, 256, (*size, 3), dtype=np.uint8) for n, size in enumerate(SIZES)]
    expected, made = both(
        Hyperparameters(**NO_COLOUR, **given), 0, seed=seed, images=ArrayImages(noise), numbers=[0, 5]
    )
    assert torch.equal(made.targets.boxes, expected.targets.boxes)
    assert np.mean(differences(made, expected) <= 1) >= 0.995


@pytest.mark.gpu
@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_a_gpu_makes_the_pixels_of_the_cpu(name: str) -> None:
    dataset = PlannedDataset(TrainDataset(INDEX, hyperparameters(name), imgsz=SIDE, seed=3, cache=IMAGES))
    planned = dataset.batch([(EpochItem(0, number),) for number in range(len(SIZES))])
    on_cpu, on_gpu = (planned.rendered(torch.device(kind)).images.cpu() for kind in ("cpu", "cuda"))
    assert ((on_cpu.int() - on_gpu.int()).abs().amax(dim=1) <= 1).double().mean() >= 0.995
