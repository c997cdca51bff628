"""Caches: the same pixels, faster; never in the dataset; never believed when damaged."""

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
from onelook.data.image_cache import DiskCache, ImageFiles, RamCache, disk_cache, ram_cache, unasked_cache
from onelook.data.parallel_map import Work
from onelook.data.sampler import EpochItem
from onelook.errors import DataError, StopRequested
from onelook.files.atomic import temporary_of
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
    for source in (RamCache(files, Work(2)), DiskCache(files, folder), DiskCache(files, folder)):
        for number in range(len(index)):
            image = files.image(number)
            assert image.shape == files.shape(number) and max(image.shape) <= 64
            np.testing.assert_array_equal(source.image(number), image)


def test_caches_do_not_change_a_run(index: DatasetIndex, folder: Path) -> None:
    files = ImageFiles(index, 64)
    h = Hyperparameters(degrees=5, scale=0.9, mixup=0.5)
    for key in [EpochItem(epoch, number) for epoch in range(2) for number in range(len(index))]:
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
        assert ram_cache(files, num_processes=2) is None
    assert "setting `cache` is ignored: 7 images would need 0.00 GB of memory, and 0.00 GB are free" in caplog.text
    monkeypatch.setattr(image_cache, "available_memory", lambda: int(needed * 1.2))
    assert ram_cache(files) is not None
    assert ram_cache(files, num_processes=2) is None, "each process has a copy of its own"


def test_little_memory_is_taken_unasked(
    index: DatasetIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = ImageFiles(index, 64)
    needed = int(files.num_bytes().sum())
    monkeypatch.setattr(image_cache, "available_memory", lambda: 8 * needed)
    assert unasked_cache(files) is not None
    with caplog.at_level(logging.INFO):
        assert unasked_cache(files, num_processes=2) is None
    assert "7 images are read from their files each time: decoded, they take 0.00 GB of memory" in caplog.text
    monkeypatch.setattr(image_cache, "available_memory", lambda: None)
    assert unasked_cache(files) is None, "how much there is is not known"


def test_a_run_that_can_do_without_an_image_is_not_ended_by_a_cache_that_nobody_asked_for(index: DatasetIndex) -> None:
    Path(index.paths[2]).unlink()
    assert unasked_cache(ImageFiles(index, 64)) is None


def test_vanished_images_are_named_when_memory_is_filled(index: DatasetIndex) -> None:
    Path(index.paths[2]).unlink()
    with pytest.raises(DataError, match=r"002\.jpg"):
        RamCache(ImageFiles(index, 64))


def test_copies_lie_in_the_folder_given_and_the_dataset_is_left_alone(index: DatasetIndex, folder: Path) -> None:
    images = Path(index.paths[0]).parent
    before = {path: path.stat().st_mtime_ns for path in images.iterdir()}
    cache = DiskCache(ImageFiles(index, 64), folder)
    for number in range(len(index)):
        cache.image(number)
    assert len(list(folder.glob("*.rgb"))) == len(list(folder.iterdir())) == len(index)
    assert {path: path.stat().st_mtime_ns for path in images.iterdir()} == before


def test_copies_are_read_instead_of_the_files(
    index: DatasetIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = DiskCache(ImageFiles(index, 64), folder)
    expected = cache.image(0)
    (copy,) = folder.iterdir()
    read = [True]
    monkeypatch.setattr(ImageFiles, "image", lambda *_: read.append(True))
    np.testing.assert_array_equal(cache.image(0), expected)
    assert len(read) == 1 and copy.is_file()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: b"x" * len(data),
        lambda data: data + b"x",
        lambda data: data[:700] + bytes([data[700] ^ 1]) + data[701:],
        lambda data: bytes([data[0] ^ 128]) + data[1:],
    ],
    ids=["empty", "short", "garbage", "long", "flipped bit", "flipped bit of the hash"],
)
def test_damaged_copies_are_reported_and_made_again(
    index: DatasetIndex, folder: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    cache = DiskCache(ImageFiles(index, 64), folder)
    good = cache.image(0)
    (copy,) = folder.iterdir()
    whole = copy.read_bytes()
    copy.write_bytes(damage(whole))
    np.testing.assert_array_equal(cache.image(0), good)
    assert copy.read_bytes() == whole
    assert copy.name in caplog.text and "damaged and is made again" in caplog.text


def test_a_copy_of_another_image_will_not_do(tmp_path: Path, folder: Path) -> None:
    index = write_jpegs(tmp_path / "images", [(48, 64), (48, 64)])
    cache = DiskCache(ImageFiles(index, 64), folder)
    images = [cache.image(number) for number in range(2)]
    one, other = sorted(folder.iterdir())
    one.write_bytes(other.read_bytes())
    for number in range(2):
        np.testing.assert_array_equal(cache.image(number), images[number])


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


def test_copies_that_cannot_be_written_are_said_once_and_done_without(
    index: DatasetIndex, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = DiskCache(ImageFiles(index, 64), folder)
    expected = [cache.image(number).copy() for number in range(2)]
    for copy in list(folder.iterdir()):
        copy.unlink()
        temporary_of(copy).mkdir()  # where its bytes would go first
    for number in range(2):
        np.testing.assert_array_equal(cache.image(number), expected[number])
    assert caplog.text.count("of an image cannot be written") == 1
    assert not list(folder.glob("*.rgb"))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_folder_is_filled_before_it_is_needed_and_only_once(
    index: DatasetIndex, tmp_path: Path, workers: int
) -> None:
    files, folder = ImageFiles(index, 64), tmp_path / "new" / "folder"
    told: list[tuple[int, int]] = []
    work = Work(workers, progress=lambda done, total: told.append((done, total)))
    assert disk_cache(files, folder, work) is not None
    assert len(list(folder.iterdir())) == len(index) and told == [(7, 7)]
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    cache = disk_cache(files, folder, work)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before and told == [(7, 7)]
    assert cache is not None
    for number in range(len(index)):
        np.testing.assert_array_equal(cache.image(number), files.image(number))


def test_processes_share_the_filling_of_the_folder(index: DatasetIndex, folder: Path) -> None:
    files = ImageFiles(index, 64)
    disk_cache(files, folder, rank=1, world_size=2)
    assert len(list(folder.iterdir())) == 3
    disk_cache(files, folder, rank=0, world_size=1)
    assert len(list(folder.iterdir())) == 7


def test_too_little_disk_is_said_and_nothing_is_written(
    index: DatasetIndex, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = ImageFiles(index, 64)
    needed = int(files.num_bytes().sum())
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": int(needed * 1.05)})())
    with caplog.at_level(logging.WARNING):
        assert disk_cache(files, folder) is None
    assert f"setting `cache` is ignored: 7 images would need 0.00 GB in `{folder}`" in caplog.text
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_filling_a_cache_can_be_stopped_and_started_again(tmp_path: Path, kind: str, workers: int) -> None:
    files = ImageFiles(write_jpegs(tmp_path / "images", [(20, 30)] * 100), 64)
    folder = tmp_path / "cache"
    asked: list[int] = []
    stopping = Work(workers, stop_requested=lambda: len(asked) > 1 or asked.append(1) is not None)

    def fill(work: Work) -> RamCache | DiskCache | None:
        return ram_cache(files, work) if kind == "ram" else disk_cache(files, folder, work)

    with pytest.raises(StopRequested, match="filling of the image cache was stopped"):
        fill(stopping)
    cache = fill(Work(workers))
    assert cache is not None
    np.testing.assert_array_equal(cache.image(99), files.image(99))
