"""`onelook split`: lists of images that training takes, and what each setting does to them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from colour_detector import write_squares
from option_runs import covers

from onelook.cli.main import main
from onelook.data.dataset_spec import load_dataset_spec
from onelook.data.scan.index import scan_split
from onelook.errors import DataError, SettingsError
from onelook.recipes.split_dataset import SplitResult, split_dataset


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_squares(tmp_path / "data", train=40, val=10)


def divided(data: Path, out: str = "out", **settings: Any) -> SplitResult:
    return split_dataset({"data": data, "output": data.parents[1] / out, "near": -1, **settings})


def stems(folder: Path) -> dict[str, list[str]]:
    lists = sorted(folder.glob("*.txt"))
    return {path.stem: [Path(line).parent.name + Path(line).stem for line in path.read_text().splitlines()]
            for path in lists}  # fmt: skip


@covers("split", "data", "output")
def test_all_images_of_a_dataset_are_split_again(data: Path, tmp_path: Path) -> None:
    result = divided(data)
    assert result.data == (tmp_path / "out" / "data.yaml",) and result.names == ("green", "blue")
    lists = stems(tmp_path / "out")
    assert set(lists) == {"train", "val"} and len(set(lists["train"] + lists["val"])) == 50 == result.num_groups
    spec = load_dataset_spec(result.data[0])
    scans = {split: scan_split(spec, split) for split in spec.splits}
    assert {split: len(scan.index) for split, scan in scans.items()} == result.images[0]
    assert all(scan.ledger.entries == () and scan.ledger.images_found for scan in scans.values())
    with pytest.raises(SettingsError, match="out` already exists"):
        divided(data)


@covers("split", "fractions")
def test_the_parts_have_the_fractions_asked_for(data: Path) -> None:
    result = divided(data, fractions=[0.5, 0.3, 0.2], stratify=True)
    assert list(result.images[0].values()) == pytest.approx([25, 15, 10], abs=1)
    for fractions in ([0.5, 0.6], [1.0, 0.0], [-0.5, 1.5]):
        with pytest.raises(SettingsError, match="`fractions` are"):
            divided(data, "other", fractions=fractions)


@covers("split", "seed")
def test_seeds_decide_the_division(data: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        divided(data, name, seed=seed)
    assert stems(tmp_path / "one") == stems(tmp_path / "two") != stems(tmp_path / "other")


def test_further_images_move_no_other(data: Path, tmp_path: Path) -> None:
    divided(data, "before")
    for number in range(5):
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            shutil.copy(data.parent / f"{kind}/train/00.{suffix}", data.parent / f"{kind}/train/9{number}.{suffix}")
    divided(data, "after")
    before, after = stems(tmp_path / "before"), stems(tmp_path / "after")
    assert all(set(before[split]) <= set(after[split]) for split in before)


@covers("split", "stratify")
def test_classes_are_divided_alike(data: Path) -> None:
    for number in range(5):
        label = data.parent / f"labels/train/0{number}.txt"
        label.write_text(label.read_text() + "2 .5 .9 .1 .1\n")
    data.write_text(data.read_text().replace("blue", "blue, rare"))
    rare = {divided(data, f"{seed}", seed=seed, stratify=True).class_labels[0]["val"][2] for seed in range(5)}
    assert rare == {1}
    assert {divided(data, f"hash{seed}", seed=seed).class_labels[0]["val"][2] for seed in range(5)} != {1}


@covers("split", "group")
@pytest.mark.parametrize("group", [r"/(\d)\d\.png", "folder"])
def test_groups_stay_together(group: str, data: Path, tmp_path: Path) -> None:
    images, labels = data.parent / "images", data.parent / "labels"
    for path in sorted((images / "train").iterdir()):  # images/train/2/23.png and so on
        for kind, one in ((images, path), (labels, labels / "train" / f"{path.stem}.txt")):
            (kind / "train" / path.stem[0]).mkdir(exist_ok=True)
            one.rename(kind / "train" / path.stem[0] / one.name)
    result = divided(data, group=group, fractions=[0.6, 0.4], seed=1)
    lists = stems(tmp_path / "out")
    tens = {split: {stem[-2] for stem in found} for split, found in lists.items()}
    assert not tens["train"] & (tens["val"] - {"0"}) and result.num_groups <= 5
    assert divided(data, "plain").num_groups == 50


@covers("split", "near")
def test_images_that_look_alike_stay_together(data: Path) -> None:
    for number in range(8):
        image = cv2.imread(str(data.parent / f"images/train/0{number}.png"))
        cv2.imwrite(str(data.parent / f"images/val/7{number}.png"), image if number < 4 else cv2.flip(image, 1))
        (data.parent / f"labels/val/7{number}.txt").write_text("")
    assert divided(data).num_groups == 58
    together = split_dataset({"data": data, "output": data.parents[1] / "near"})
    assert together.num_groups <= 50
    lists = stems(data.parents[1] / "near")
    for number in range(8):
        assert sum({f"train0{number}", f"val7{number}"} <= set(found) for found in lists.values()) == 1


@covers("split", "folds")
def test_each_image_is_validated_on_in_one_fold(data: Path, tmp_path: Path) -> None:
    result = divided(data, folds=4, stratify=True)
    assert [path.parent.name for path in result.data] == ["fold1", "fold2", "fold3", "fold4"]
    lists = [stems(path.parent) for path in result.data]
    validated = [stem for one in lists for stem in one["val"]]
    assert len(validated) == 50 == len(set(validated))
    assert all(set(one["train"]) | set(one["val"]) == set(validated) and len(one["train"]) + len(one["val"]) == 50
               for one in lists)  # fmt: skip
    assert {len(one["val"]) for one in lists} <= {12, 13}
    with pytest.raises(SettingsError, match="`folds` is 1"):
        divided(data, "one", folds=1)


def test_too_many_folds_for_few_groups_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="would have no image; images or groups to divide: 2"):
        divided(data, folds=5, group="folder")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_a_folder_of_images_gets_lists_only(data: Path, tmp_path: Path) -> None:
    result = divided(data.parent / "images", "data/lists")
    assert result.names == () and {path.name for path in (tmp_path / "data/lists").iterdir()} == {
        "train.txt",
        "val.txt",
    }
    with pytest.raises(SettingsError, match="its classes are not known"):
        divided(data.parent / "images", "data/other", stratify=True)


def test_the_command_tells_what_is_where(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["split", str(data), "--output", str(tmp_path / "folds"), "--folds", "5", "--stratify", "--near", "-1"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "50 images" in out and "fold 5" in out and "green" in out
    assert str(tmp_path / "folds" / "fold5" / "data.yaml") in out
    assert out.startswith("50 images\n") and out.endswith(f"onelook train --folds {tmp_path / 'folds'}\n")
    words = [
        "split",
        str(data),
        "--output",
        str(tmp_path / "grouped"),
        "--group",
        r"\D*(\d)",
        "--fractions",
        "0.5",
        "0.5",
        "0",
    ]
    assert main(words) == 0
    assert " groups\n" in capsys.readouterr().out


@pytest.mark.parametrize("group", ["(", "*"])
def test_groups_are_regular_expressions(group: str, data: Path) -> None:
    with pytest.raises(SettingsError, match="which is not a regular expression"):
        divided(data, group=group)


@pytest.fixture(scope="module")
def still_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 different images in front of one background."""
    tmp_path, rng = tmp_path_factory.mktemp("camera"), np.random.default_rng(0)
    background = cv2.resize(rng.integers(0, 255, (8, 10, 3), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    (tmp_path / "frames").mkdir()
    for number in range(120):
        image, side = background.copy(), int(rng.integers(30, 60))
        x, y = int(rng.integers(0, 320 - side)), int(rng.integers(0, 240 - side))
        cv2.rectangle(image, (x, y), (x + side, y + side), rng.integers(0, 255, 3).tolist(), -1)
        cv2.imwrite(str(tmp_path / f"frames/{number:03}.jpg"), image)
    return tmp_path / "frames"


def test_frames_of_a_camera_that_stands_still_become_equal_folds(still_camera: Path, tmp_path: Path) -> None:
    result = split_dataset({"data": still_camera, "output": tmp_path / "out", "folds": 5})
    sizes = [one["val"] for one in result.images]
    assert result.num_groups > 60 and max(sizes) <= 30 and sum(sizes) == 120


def test_what_check_recommends_for_a_camera_that_stands_still_keeps_the_fractions(
    still_camera: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the images that look alike across splits, `check` says `onelook split`, which once made 36, 252 and 1."""
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    for number, path in enumerate(sorted(still_camera.iterdir())):
        shutil.copy(path, tmp_path / ("val" if number % 4 == 0 else "train"))
        (tmp_path / ("val" if number % 4 == 0 else "train") / f"{path.stem}.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "data.yaml").write_text("train: train\nval: val\nnames: [square]\n")
    main(["check", str(tmp_path / "data.yaml")])
    told = " ".join(capsys.readouterr().out.split())
    assert "images that look like one of another split" in told and "`onelook split`" in told
    words = [
        "split",
        str(tmp_path / "data.yaml"),
        "--output",
        str(tmp_path / "out"),
        "--fractions",
        "0.7",
        "0.2",
        "0.1",
    ]
    assert main(words) == 0
    sizes = [len(found) / 120 for found in stems(tmp_path / "out").values()]
    missed = max(abs(share - wanted) for share, wanted in zip(sizes, [0.1, 0.7, 0.2], strict=True))
    assert missed <= 0.03 or "the splits miss the requested fractions" in capsys.readouterr().err
    assert min(sizes) > 0.05 and max(sizes) < 0.8


def test_parts_that_miss_their_fractions_are_reported_with_the_cure(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    divided(data, group="folder", fractions=[0.6, 0.4], stratify=True)
    assert "train 80.0 % instead of 60.0 %" in caplog.text and "see `--near` and `--group`" in caplog.text
