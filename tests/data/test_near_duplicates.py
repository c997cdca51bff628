"""The search for images that look alike."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from onelook.data.image_hashes import ImageHashes, image_hashes
from onelook.data.near_duplicates import (
    MAX_CROWD,
    alike_pairs,
    groups_around_leaders,
    groups_of,
    mirrored_pairs,
    near_pairs,
)
from onelook.data.parallel_map import Work
from onelook.doctor.images import AllImages, doubled_findings
from onelook.errors import StopRequested


def plain_search(hashes: np.ndarray, max_bits: int) -> set[tuple[int, int]]:
    values = [int(value) for value in hashes]
    return {
        (one, other)
        for other in range(len(values))
        for one in range(other)
        if (values[one] ^ values[other]).bit_count() <= max_bits
    }


@pytest.mark.parametrize("max_bits", [0, 3, 7])
def test_search_finds_the_pairs_that_comparing_all_with_all_finds(max_bits: int) -> None:
    rng = np.random.Generator(np.random.Philox(key=max_bits))
    hashes = rng.integers(0, 2**64, 300, dtype=np.uint64)
    for number in range(100, 300):  # relatives with 0 to 9 bits of difference, anywhere
        bits = rng.choice(64, number % 10, replace=False)
        hashes[number] = hashes[number % 100] ^ np.uint64(sum(1 << int(bit) for bit in bits))
    expected = plain_search(hashes, max_bits)
    assert set(map(tuple, near_pairs(hashes, max_bits).tolist())) == expected and len(expected) > 20


def test_a_crowd_of_equal_hashes_is_tied_together_without_all_its_pairs() -> None:
    hashes = np.full(MAX_CROWD + 500, 12345, np.uint64)
    pairs = near_pairs(hashes, 2)
    assert len(pairs) < 70 * len(hashes) and set(groups_of(pairs, len(hashes)).tolist()) == {0}


def test_many_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="max_bits is 8"):
        near_pairs(np.zeros(2, np.uint64), 8)


def test_groups_have_the_number_of_their_first_member() -> None:
    assert groups_of(np.array([[3, 4], [1, 4], [0, 2]]), 6).tolist() == [0, 1, 0, 1, 1, 5]


def sample_image(seed: int) -> np.ndarray:
    """Blobs of colour, like no other."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    return cv2.resize(rng.integers(0, 256, (9, 12, 3), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)


CHANGES = {
    "compressed again": lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [1, 40])[1], 1),
    "half as large": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "small": lambda image: cv2.resize(image, (60, 45), interpolation=cv2.INTER_AREA),
    "brighter": lambda image: np.clip(image.astype(int) + 12, 0, 255).astype(np.uint8),
    "blurred": lambda image: cv2.GaussianBlur(image, (9, 9), 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_images_of_the_same_look_alike_and_others_do_not(change: str, tmp_path: Path) -> None:
    for seed in range(20):
        cv2.imwrite(str(tmp_path / f"{seed:02}.jpg"), sample_image(seed))
        cv2.imwrite(str(tmp_path / f"{seed:02}x.png"), CHANGES[change](sample_image(seed)))
    paths = sorted(map(str, tmp_path.iterdir()))
    pairs = alike_pairs(hashes_of(paths), 6)
    assert pairs.tolist() == [[2 * seed, 2 * seed + 1] for seed in range(20)]


@pytest.mark.parametrize("change", CHANGES)
def test_mirror_images_are_found_and_are_no_plain_copies(change: str, tmp_path: Path) -> None:
    for seed in range(20):
        cv2.imwrite(str(tmp_path / f"{seed:02}.jpg"), sample_image(seed))
        cv2.imwrite(str(tmp_path / f"{seed:02}x.png"), CHANGES[change](cv2.flip(sample_image(seed), 1)))
    hashes = hashes_of(sorted(map(str, tmp_path.iterdir())))
    assert mirrored_pairs(hashes, 6).tolist() == [[2 * seed, 2 * seed + 1] for seed in range(20)]
    assert len(alike_pairs(hashes, 6)) == 0


@pytest.mark.parametrize("flip", [0, -1], ids=["upside down", "turned by half"])
def test_images_that_are_turned_are_no_mirror_images(flip: int, tmp_path: Path) -> None:
    for seed in range(20):
        cv2.imwrite(str(tmp_path / f"{seed:02}.jpg"), sample_image(seed))
        cv2.imwrite(str(tmp_path / f"{seed:02}x.jpg"), cv2.flip(sample_image(seed), flip))
    hashes = hashes_of(sorted(map(str, tmp_path.iterdir())))
    assert len(mirrored_pairs(hashes, 7)) == len(alike_pairs(hashes, 7)) == 0


def test_symmetric_image_is_no_mirror_image_of_itself(tmp_path: Path) -> None:
    half = sample_image(3)[:, :320]
    cv2.imwrite(str(tmp_path / "a.png"), np.concatenate([half, half[:, ::-1]], axis=1))
    cv2.imwrite(str(tmp_path / "b.png"), sample_image(4))
    assert len(mirrored_pairs(hashes_of(sorted(map(str, tmp_path.iterdir()))), 7)) == 0


def test_blank_images_look_like_nothing(tmp_path: Path) -> None:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((64, 64, 3), 60 * number, np.uint8))
    hashes = hashes_of(sorted(map(str, tmp_path.iterdir())))
    assert hashes.is_flat.all() and len(alike_pairs(hashes, 7)) == len(mirrored_pairs(hashes, 7)) == 0


def test_copy_is_reported_once_be_it_mirrored_or_symmetric(tmp_path: Path) -> None:
    half = sample_image(3)[:, :320]
    symmetric = np.concatenate([half, half[:, ::-1]], axis=1)
    train = {"a.png": sample_image(1), "b.png": sample_image(1)[1:], "c.png": symmetric}
    for name, image in {**train, "d.png": cv2.flip(sample_image(1), 1), "e.png": symmetric[1:]}.items():
        cv2.imwrite(str(tmp_path / name), image)
    paths = tuple(sorted(map(str, tmp_path.iterdir())))
    digests = np.arange(5 * 16, dtype=np.uint8).reshape(5, 16)
    splits = ("train", "train", "train", "val", "val")
    images = AllImages(tuple(zip(splits, (0, 1, 2, 0, 1), strict=True)), paths, digests, hashes_of(list(paths)))
    findings = list(doubled_findings(images, 6))
    assert [(one.kind, Path(one.file).name, one.detail.replace(f"{tmp_path}/", "")) for one in findings] == [
        ("doubled-look", "b.png", "looks like `a.png`"),
        ("leaked-look", "e.png", "looks like `c.png` of split `train`"),
        ("leaked-look", "d.png", "looks like the mirror image of `a.png` of split `train`"),
    ]
    assert list(doubled_findings(images, -1)) == []


def test_looks_are_kept_until_a_file_changes(tmp_path: Path) -> None:
    paths, no_time = [str(tmp_path / "a.png")], Work(stop_requested=lambda: True)
    cv2.imwrite(paths[0], sample_image(1))
    first = hashes_of(paths, tmp_path / "cache")
    kept = image_hashes(paths, work=no_time, cache_folder=tmp_path / "cache")
    assert all(np.array_equal(value, getattr(first, name)) for name, value in vars(kept).items())
    cv2.imwrite(paths[0], sample_image(2))
    with pytest.raises(StopRequested):
        image_hashes(paths, work=no_time, cache_folder=tmp_path / "cache")
    changed = hashes_of(paths, tmp_path / "cache")
    assert changed.hashes != first.hashes
    assert changed.hashes == hashes_of(paths).hashes


def test_an_image_that_is_gone_has_no_look(tmp_path: Path) -> None:
    assert hashes_of([str(tmp_path / "gone.jpg")]).is_flat.tolist() == [True]


def hashes_of(paths: list[str], cache_folder: Path | None = None) -> ImageHashes:
    return image_hashes(paths, work=Work(2), cache_folder=cache_folder)


def test_chains_of_images_that_look_alike_do_not_become_one_group() -> None:
    chain = np.stack([np.arange(99), np.arange(1, 100)], axis=1)
    groups = groups_around_leaders(np.arange(100), chain)
    assert np.bincount(groups).max() == 2 and len(np.unique(groups)) == 50
    star = np.stack([np.zeros(9, np.int64), np.arange(1, 10)], axis=1)
    assert groups_around_leaders(np.arange(10), star).tolist() == [0] * 10


def test_what_stays_together_in_any_case_joins_as_a_whole() -> None:
    groups = groups_around_leaders(np.array([0, 1, 2, 2, 4]), np.array([[0, 3], [3, 4]]))
    assert groups.tolist() == [0, 1, 0, 0, 4]
