"""What every row of `AUGMENTATIONS` keeps: boxes inside, same key same sample, CPU = device, no labels needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic_index import ArrayImages, make_index, smooth_image

from onelook.data.augment.augmentations import AUGMENTATIONS, Augmentation, without_device
from onelook.data.augment.draft import Draft, Stream
from onelook.data.augment.keys import Purpose
from onelook.data.augment.labels import MIN_SIDE_PX
from onelook.data.augment.plan import Sample
from onelook.data.dataset import TrainDataset
from onelook.data.item import Item
from onelook.data.planned import PlannedDataset
from onelook.data.sampler import EpochItem
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Batch
from onelook.structures.dataset_index import DatasetIndex

SIDE = 64
SIZES = [(48, 64), (64, 48), (64, 64), (27, 64), (64, 21), (33, 40)]
LABELS = [[(n % 3, 0.3, 0.4, 0.3, 0.5), (1, 0.7, 0.6, 0.2, 0.2)] for n in range(len(SIZES))]
HEART = [(0.2, 0.2), (0.5, 0.3), (0.8, 0.2), (0.5, 0.6)]
INDEX = make_index(SIZES, LABELS, polygons=dict.fromkeys(range(12), HEART))
IMAGES = ArrayImages([smooth_image(h, w, n) for n, (h, w) in enumerate(SIZES)])
SLOTS = [EpochItem(epoch, number) for epoch in range(3) for number in range(len(SIZES))]
OFF: dict[str, Any] = {name: 0 for one in AUGMENTATIONS.values() for name in one.settings} | {"transforms": []}
TRANSFORMS = [{"name": "HorizontalFlip", "p": 0.5}]
OF_MOSAICS = {"mix-up": {"mosaic": 1.0}}


def strong(setting: str) -> Any:
    """A little more than half of the largest value that a setting may have."""
    if setting == "transforms":
        return TRANSFORMS
    limits = Hyperparameters.model_fields[setting].metadata
    return 0.6 * min(getattr(limit, bound) for limit in limits for bound in ("le", "lt") if hasattr(limit, bound))


def dataset_of(*names: str, index: DatasetIndex = INDEX, seed: int = 3, **values: Any) -> TrainDataset:
    """With these augmentations only, and strong."""
    on = {setting: strong(setting) for name in names for setting in AUGMENTATIONS[name].settings}
    return TrainDataset(index, Hyperparameters(**OFF | values | on), imgsz=SIDE, seed=seed, cache=IMAGES)


def samples(dataset: TrainDataset, slots: Sequence[EpochItem] = SLOTS) -> list[Item]:
    return [dataset[(slot,)] for slot in slots]


def equal(first: Item | Batch, second: Item | Batch) -> bool:
    tensors = [
        (one.image, one.boxes_cxcywh_norm, one.class_ids)
        if isinstance(one, Item)
        else (one.images, one.targets.boxes, one.targets.class_ids, one.targets.image_index)
        for one in (first, second)
    ]
    return all(torch.equal(*pair) for pair in zip(*tensors, strict=True))


@pytest.fixture(params=AUGMENTATIONS)
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "transforms" and find_spec("albumentations") is None:
        pytest.skip("the extra `augment` is not installed")
    return str(request.param)


def test_boxes_stay_inside_and_are_not_empty(name: str) -> None:
    found = samples(dataset_of(name, **OF_MOSAICS.get(name, {})))
    assert sum(len(item.class_ids) for item in found) > 0
    for item in found:
        centres, sizes = item.boxes_cxcywh_norm.double().split(2, dim=1)
        assert ((centres - sizes / 2) > -1e-6).all() and ((centres + sizes / 2) < 1 + 1e-6).all()
        assert (sizes * SIDE > MIN_SIDE_PX - 1e-4).all()


def test_same_key_gives_the_same_sample_and_another_another(name: str) -> None:
    given = OF_MOSAICS.get(name, {})
    first, again, other = (samples(dataset_of(name, seed=seed, **given)) for seed in (3, 3, 4))
    assert all(map(equal, first, again)) and not all(map(equal, first, other))
    assert all(map(equal, first, samples(dataset_of(name, **given), SLOTS[::-1])[::-1])), "in any order"
    assert not all(map(equal, first, samples(dataset_of(**given)))), "it does something"


def test_images_without_labels_are_augmented_too(name: str) -> None:
    given = OF_MOSAICS.get(name, {})
    for item in samples(dataset_of(name, index=make_index(SIZES), **given), SLOTS[:4]):
        assert item.boxes_cxcywh_norm.shape == (0, 4) and item.class_ids.shape == (0,)


def test_a_device_makes_the_pixels_and_labels_of_the_loader(name: str) -> None:
    dataset = dataset_of(name, **OF_MOSAICS.get(name, {}))
    if name in without_device(dataset.hyperparameters):
        pytest.skip("only the loader does it")
    places = [(slot,) for slot in SLOTS]
    expected, made = dataset.batch(places), PlannedDataset(dataset).batch(places).rendered(torch.device("cpu"))
    assert equal(Batch(expected.images, made.targets, made.infos), expected)
    assert ((expected.images.int() - made.images.int()).abs().amax(dim=1) <= 1).double().mean() >= 0.995


def test_a_batch_has_the_samples_that_stand_alone(name: str) -> None:
    dataset = dataset_of(name, **OF_MOSAICS.get(name, {}))
    batch = dataset.batch([(slot,) for slot in SLOTS])
    for number, item in enumerate(samples(dataset)):
        own = batch.targets.image_index == number
        assert equal(
            item, Item(batch.images[number], batch.targets.boxes[own], batch.targets.class_ids[own], item.info)
        )


def test_it_moves_the_random_numbers_of_no_other() -> None:
    others = [Purpose.ORDER, Purpose.IMAGE_WEIGHTS, Purpose.MOSAIC9]
    streams = [*others, *(one.purpose for one in AUGMENTATIONS.values())]
    assert len(set(streams)) == len(streams) and max(streams) < 16


def test_every_setting_belongs_to_one_augmentation_and_is_documented() -> None:
    settings = [name for one in AUGMENTATIONS.values() for name in one.settings]
    assert len(set(settings)) == len(settings) and set(settings) <= set(Hyperparameters.model_fields)
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "augmentation.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in settings)


@dataclass(frozen=True)
class Erasure:
    """Columns that become black; boxes that begin in them are dropped."""

    end: int

    def apply(self, sample: Sample) -> Sample:
        sample.image[:, : self.end] = 0
        keep = sample.boxes[:, 0] >= self.end
        return Sample(sample.image, sample.boxes[keep], sample.class_ids[keep], int((~keep).sum()))


class Inversion:
    """Every level from the other end."""

    def apply(self, sample: Sample) -> Sample:
        return sample._replace(image=255 - sample.image)

    @classmethod
    def packed(cls, steps: Sequence[Inversion | None]) -> tuple[torch.Tensor]:
        return (torch.tensor([step is not None for step in steps]),)

    @classmethod
    def apply_on_device(cls, images: torch.Tensor, *packed: torch.Tensor) -> torch.Tensor:
        return torch.where(packed[0][:, None, None, None], 255 - images, images)


def test_a_new_augmentation_needs_its_own_code_and_a_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def erase(draft: Draft, stream: Stream) -> None:
        draft.steps.append(Erasure(int(stream(0).integers(1, SIDE // 2))))

    def invert(draft: Draft, stream: Stream) -> None:
        if stream(0).random() < 0.5:
            draft.steps.append(Inversion())

    plain = samples(dataset_of("flip"))
    monkeypatch.setitem(AUGMENTATIONS, "invert", Augmentation(invert, 11, ("fliplr",), Inversion))
    inverted = dataset_of("flip")
    turned = [torch.equal(255 - new.image, old.image) for new, old in zip(samples(inverted), plain, strict=True)]
    assert 0 < sum(turned) < len(turned) and without_device(inverted.hyperparameters) == []
    places = [(slot,) for slot in SLOTS]
    on_device = PlannedDataset(inverted).batch(places).rendered(torch.device("cpu"))
    assert (on_device.images.int() - inverted.batch(places).images.int()).abs().max() <= 1

    monkeypatch.setitem(AUGMENTATIONS, "erase", Augmentation(erase, 10, ("fliplr",), Erasure))
    erased = dataset_of("flip")
    found = samples(erased)
    assert all((item.image[:, :, 0] == 0).all() for item in found)
    assert sum(item.info.num_dropped_boxes for item in found) > 0
    assert without_device(erased.hyperparameters) == ["erase"]
