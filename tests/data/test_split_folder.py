"""Dividing a folder of images into lists."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

import pytest
from small_dataset import tree_digest

from onelook.data.dataset_spec import load_dataset_spec, split_images
from onelook.data.split_folder import autosplit
from onelook.errors import DataError


def make_images(folder: Path, count: int = 300) -> Path:
    (folder / "images/sub").mkdir(parents=True)
    for number in range(count):
        (folder / f"images/{'sub/' if number % 2 else ''}{number:04}.jpg").write_bytes(b"")
    return folder / "images"


def lines_of(lists: dict[str, Path]) -> dict[str, list[str]]:
    return {split: path.read_text().splitlines() for split, path in lists.items()}


def test_every_image_is_in_one_list_in_about_the_right_parts(tmp_path: Path) -> None:
    images = make_images(tmp_path)
    before = tree_digest(images)
    lists = autosplit(images, output_folder=tmp_path / "lists", fractions=(0.5, 0.3, 0.2))
    lines = lines_of(lists)
    assert {split: path.name for split, path in lists.items()} == {
        "train": "autosplit_train.txt", "val": "autosplit_val.txt", "test": "autosplit_test.txt",
    }  # fmt: skip
    assert sorted(chain(*lines.values())) == sorted(str(path) for path in images.rglob("*.jpg"))
    for split, part in zip(lists, (0.5, 0.3, 0.2), strict=True):
        assert abs(len(lines[split]) / 300 - part) < 0.09
        assert lines[split] == sorted(lines[split])
    assert tree_digest(images) == before


def test_division_depends_on_name_and_seed_alone(tmp_path: Path) -> None:
    first = make_images(tmp_path / "one")
    second = make_images(tmp_path / "two", 400)
    one = lines_of(autosplit(first, output_folder=tmp_path / "one"))
    two = lines_of(autosplit(second, output_folder=tmp_path / "two"))
    assert list(one) == ["train", "val"]
    assert set(one["val"]) < set(two["val"])
    assert all(line.startswith("./images/") for line in one["train"])
    other = lines_of(autosplit(first, output_folder=tmp_path / "other", seed=1))
    assert {Path(line).name for line in other["val"]} != {Path(line).name for line in one["val"]}


def test_lists_can_be_used_as_splits(tmp_path: Path) -> None:
    autosplit(make_images(tmp_path), output_folder=tmp_path)
    (tmp_path / "data.yaml").write_text("train: autosplit_train.txt\nval: autosplit_val.txt\nnames: [cat]\n")
    spec = load_dataset_spec(tmp_path / "data.yaml")
    found = [Path(name) for split in ("train", "val") for name in split_images(spec, split)[0]]
    assert sorted(found) == sorted((tmp_path / "images").rglob("*.jpg"))


def test_only_annotated_images_if_asked(tmp_path: Path) -> None:
    images = make_images(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/0004.txt").write_bytes(b"")
    lines = lines_of(autosplit(images, output_folder=tmp_path, annotated_only=True))
    assert list(chain(*lines.values())) == ["./images/0004.jpg"]


def test_existing_lists_are_never_overwritten(tmp_path: Path) -> None:
    images = make_images(tmp_path)
    (tmp_path / "autosplit_val.txt").write_text("mine")
    with pytest.raises(DataError, match=r"autosplit_val\.txt` exists"):
        autosplit(images, output_folder=tmp_path)
    assert (tmp_path / "autosplit_val.txt").read_text() == "mine"
    assert not (tmp_path / "autosplit_train.txt").exists()


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.9, 0.2, 0.0), (1.1, -0.1, 0.0)])
def test_fractions_must_divide_the_whole(tmp_path: Path, fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="three parts"):
        autosplit(make_images(tmp_path), output_folder=tmp_path, fractions=fractions)


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no images"):
        autosplit(tmp_path, output_folder=tmp_path / "out")
    with pytest.raises(DataError, match="not a folder"):
        autosplit(tmp_path / "absent", output_folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_odd_file_names_are_kept_or_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(b"")
    lists = autosplit(tmp_path, output_folder=tmp_path / "out")
    assert b"".join(path.read_bytes() for path in lists.values()) == os.fsencode(tmp_path) + b"/\xff.jpg\n"
    (tmp_path / "a\nb.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="line break"):
        autosplit(tmp_path, output_folder=tmp_path / "other")
