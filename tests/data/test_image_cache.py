"""Caches: the same pixels, faster; never in the data set; never believed when damaged."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from synthetic_index import make_index, smooth_image, write_jpegs

from onelook.data import image_cache
from onelook.data.dataset import TrainDataset
from onelook.data.image_cache import DiskCache, ImageFiles, RamCache, available_memory, ram_cache
from onelook.errors import DataError
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex

SIZES = [(48, 64), (64, 48), (150, 201), (64, 64), (300, 64), (24, 20), (700, 500)]


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    return write_jpegs(tmp_path / "images", SIZES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    path.mkdir()
    return path


def test_all_sources_give_the_same_bytes(index: DatasetIndex, folder: Path) -> None:
    files = ImageFiles(index, 64)
    for source in (RamCache(files, num_threads=2), DiskCache(files, folder), DiskCache(files, folder)):
        for number in range(len(index)):
            image = files.image(number)
            assert image.shape == files.shape(number) and max(image.shape) <= 64
            np.testing.assert_array_equal(source.image(number), image)


def test_caches_do_not_change_a_run(index: DatasetIndex, folder: Path) -> None:
    files = ImageFiles(index, 64)
    h = Hyperparameters(degrees=5, scale=0.9, mixup=0.5)
    for key in [(epoch, number) for epoch in range(2) for number in range(len(index))]:
        images = [
            TrainDataset(index, h, imgsz=64, seed=0, cache=cache)[(key,)].image
            for cache in (None, RamCache(files), DiskCache(files, folder))
        ]
        assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])


def test_memory_is_one_block_that_survives_pickling(index: DatasetIndex) -> None:
    files = ImageFiles(index, 64)
    cache = RamCache(files)
    views = [cache.image(number) for number in range(len(index))]
    assert sum(view.size for view in views) == int(files.num_bytes().sum())
    assert all(np.shares_memory(view, cache.image(number)) for number, view in enumerate(views))
    again = pickle.loads(pickle.dumps(cache))
    np.testing.assert_array_equal(again.image(4), views[4])


def test_too_little_memory_is_said_and_nothing_is_cached(
    index: DatasetIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = ImageFiles(index, 64)
    needed = int(files.num_bytes().sum())
    monkeypatch.setattr(image_cache, "available_memory", lambda: int(needed * 1.05))
    with caplog.at_level(logging.WARNING):
        assert ram_cache(files) is None
    assert "`cache: ram` is ignored" in caplog.text
    monkeypatch.setattr(image_cache, "available_memory", lambda: int(needed * 1.2))
    assert ram_cache(files) is not None


def test_available_memory_is_known_on_linux() -> None:
    if Path("/proc/meminfo").is_file():
        assert 1e6 < (available_memory() or 0) < 1e15


def test_vanished_images_are_named_when_memory_is_filled(index: DatasetIndex) -> None:
    Path(index.paths[2]).unlink()
    with pytest.raises(DataError, match=r"002\.jpg"):
        RamCache(ImageFiles(index, 64))


def test_copies_lie_in_the_folder_given_and_the_data_set_is_left_alone(index: DatasetIndex, folder: Path) -> None:
    images = Path(index.paths[0]).parent
    before = {path: path.stat().st_mtime_ns for path in images.iterdir()}
    cache = DiskCache(ImageFiles(index, 64), folder)
    for number in range(len(index)):
        cache.image(number)
    assert len(list(folder.glob("*.npy"))) == len(list(folder.iterdir())) == len(index)
    assert {path: path.stat().st_mtime_ns for path in images.iterdir()} == before


def test_copies_are_read_in_place_of_the_files(index: DatasetIndex, folder: Path) -> None:
    cache = DiskCache(ImageFiles(index, 64), folder)
    cache.image(0)
    (copy,) = folder.iterdir()
    marked = np.full(cache.files.shape(0), 7, np.uint8)
    np.save(copy, marked)
    np.testing.assert_array_equal(cache.image(0), marked)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: b"x" * len(data),
        lambda data: data.replace(b"|u1", b"|i1"),
        lambda data: data.replace(b"48, 64", b"64, 48"),
    ],
    ids=["empty", "short", "garbage", "dtype", "shape"],
)
def test_damaged_copies_are_made_again(index: DatasetIndex, folder: Path, damage: Callable[[bytes], bytes]) -> None:
    cache = DiskCache(ImageFiles(index, 64), folder)
    good = cache.image(0)
    (copy,) = folder.iterdir()
    whole = copy.read_bytes()
    copy.write_bytes(damage(whole))
    np.testing.assert_array_equal(cache.image(0), good)
    assert copy.read_bytes() == whole


def test_images_changed_to_others_of_equal_size_are_decoded_again(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "image.bmp"
    cv2.imwrite(str(path), smooth_image(48, 64, 1))
    status = path.stat()
    cache = DiskCache(ImageFiles(make_index([(48, 64)], paths=[str(path)]), 64), folder)
    before = cache.image(0).copy()
    cv2.imwrite(str(path), smooth_image(48, 64, 2))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert path.stat().st_size == status.st_size
    assert (cache.image(0) != before).any()


def test_a_full_disk_only_means_no_copies(index: DatasetIndex, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = type("Usage", (), {"free": 10})()
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: full)
    assert DiskCache(ImageFiles(index, 64), folder).image(0).shape == (48, 64, 3)
    assert list(folder.iterdir()) == []
