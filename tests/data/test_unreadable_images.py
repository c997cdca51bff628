"""Images that vanish while a run continues: one in a thousand is done without, and said."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from synthetic_index import write_jpegs

from onelook.data.dataset import Arrangement, TrainDataset
from onelook.data.loader import Batches, train_loader
from onelook.data.sampler import EpochItem, EpochOrder
from onelook.errors import DataError
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex

NUM_IMAGES = 1000
PLAIN = Hyperparameters(mosaic=0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> DatasetIndex:
    """A thousand images of 16 x 16 pixels; nobody changes them."""
    return write_jpegs(tmp_path_factory.mktemp("many"), [(16, 16)] * NUM_IMAGES)


def without(index: DatasetIndex, *numbers: int) -> DatasetIndex:
    """The same dataset with some files gone."""
    paths = [str(Path(path).with_suffix(".gone")) if n in numbers else path for n, path in enumerate(index.paths)]
    return replace(index, paths=tuple(paths))


def run_of(index: DatasetIndex, hyp: Hyperparameters = PLAIN, *, workers: int = 0, epochs: int = 1) -> Batches:
    dataset = TrainDataset(index, hyp, imgsz=32, seed=0)
    return train_loader(dataset, EpochOrder(0, len(index), 100, epochs), workers=workers)


@pytest.mark.parametrize("workers", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_one_in_a_thousand_is_done_without_and_warned_of_once(
    whole: DatasetIndex, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = list(run_of(without(whole, 7), workers=workers, epochs=2))
    images = [
        (info.index, info.lost, image) for batch in found for info, image in zip(batch.infos, batch.images, strict=True)
    ]
    assert sorted(number for number, _, _ in images) == sorted([*range(NUM_IMAGES)] * 2)
    assert [number for number, lost, _ in images if lost] == [7, 7]
    grey = [number for number, _, image in images if image.float().std() < 1]
    assert grey == [7, 7]
    assert [r.getMessage().split(";")[1] for r in caplog.records] == [
        " the run continues without it and is no longer reproducible"
    ]
    assert "007.gone` cannot be opened" in caplog.text


def test_its_boxes_are_left_out_and_its_partners_stay(whole: DatasetIndex) -> None:
    mosaics = Hyperparameters(mixup=1.0)
    full = TrainDataset(whole, mosaics, imgsz=32, seed=0)
    slot = EpochItem(0, 8)
    plan = full.plan(slot)
    gone = plan.tiles[0].source
    lossy = TrainDataset(without(whole, gone), mosaics, imgsz=32, seed=0)
    item, complete = lossy[(slot,)], full[(slot,)]
    assert len(item.info.lost) == 1 and f"{gone:03}.gone" in item.info.lost[0] and complete.info.lost == ()
    assert len(item.class_ids) <= len(complete.class_ids) and not torch.equal(item.image, complete.image)
    quad = TrainDataset(without(whole, gone), mosaics, imgsz=32, seed=0, arrangement=Arrangement(quad=True))
    assert quad[(EpochItem(0, 1), slot)].info.lost == item.info.lost


def test_more_than_that_ends_the_run(whole: DatasetIndex) -> None:
    with pytest.raises(DataError, match="2 of 1000 images could be read when the dataset was scanned") as caught:
        list(run_of(without(whole, 7, 8)))
    assert "restore them and resume" in str(caught.value.hint)


def test_a_small_dataset_can_do_without_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        list(run_of(without(write_jpegs(tmp_path, [(16, 16)] * 9), 3)))
