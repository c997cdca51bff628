"""A detection run says what it lost, continues with what is left, and never writes over what it reads."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from colours import checkpoint_of, colour_detector
from PIL import Image
from pycocotools.coco import COCO

import onelook
from onelook.data.media import VideoWriter, video_frames
from onelook.errors import SettingsError
from onelook.files.images import write_image
from onelook.recipes.detect import DetectResult, detect
from onelook.structures.coco_classes import COCO_NAMES


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every 16 x 16 cell that is red or green is an object of just that cell."""
    return checkpoint_of(colour_detector(cell=16), tmp_path_factory.mktemp("weights") / "colour.safetensors")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def spotted() -> np.ndarray:
    image = np.zeros((64, 96, 3), np.uint8)
    image[32:48, 16:32, 0] = image[0:16, 64:80, 1] = 255
    return image


def run(weights: Path, source: Path, **options: Any) -> DetectResult:
    given = {"weights": weights, "source": source, "imgsz": [96], "device": "cpu", "project": source.parent / "runs"}
    return detect({**given, **options})


def film(path: Path, *, num_frames: int = 12, fps: float = 10.0) -> Path:
    with VideoWriter(path, fps=fps, size_hw=(64, 96)) as writer:
        for number in range(num_frames):
            writer.write(np.random.default_rng(number).integers(0, 255, (64, 96, 3), dtype=np.uint8))
    return path


def test_a_damaged_video_is_processed_to_its_end_and_named(photos: Path, weights: Path) -> None:
    data = film(photos / "a.mp4", num_frames=40).read_bytes()
    start, size = len(data) // 3, len(data) // 5
    (photos / "a.mp4").write_bytes(data[:start] + bytes(size) + data[start + size :])
    film(photos / "b.mp4")
    result = run(weights, photos)
    counts = {name: sum(frame.path.name == name for frame in result.frames) for name in ("a.mp4", "b.mp4")}
    assert 20 <= counts["a.mp4"] < 40 and counts["b.mp4"] == 12
    lost = f"video `{photos}/a.mp4` is damaged: {40 - counts['a.mp4']} of 40 frames cannot be decoded"
    assert result.problems == (lost,)
    assert len(list(video_frames(result.run_folder / "a.mp4"))) == counts["a.mp4"]


def test_two_problems_of_one_file_are_not_two_files(
    photos: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = photos / "a.jpg", photos / "b.png"
    bad.write_bytes(b"\xff\xd8\xff\xe0")
    write_image(good, spotted())
    (photos / "all.txt").write_text("a.jpg\na.jpg\nb.png\n")
    assert len(run(weights, photos / "all.txt", project=photos.parent / "runs").problems) == 2
    assert "2 problems in 2 files" in caplog.text


def test_what_cannot_be_drawn_stops_nothing_else(photos: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(photos / "a.png", np.zeros((16, 16400, 3), np.uint8))
    (photos / "a.webp").write_bytes((photos / "a.png").read_bytes())  # WebP has no such sizes, PNG has
    (photos / "a.png").unlink()
    write_image(photos / "b.png", spotted())
    film(photos / "c.mp4", fps=105611 / 500)
    result = run(weights, photos, save_txt=True)
    assert result.problems == (
        f"image `{result.run_folder}/a.webp` cannot be written: 16400 x 16 pixels cannot be written as `.webp`",
    )
    assert sorted(path.name for path in result.run_folder.iterdir()) == ["b.png", "c.mp4", "labels"]
    assert len(list((result.run_folder / "labels").iterdir())) == 14 and len(result.frames) == 14


def test_the_content_of_a_file_counts_not_its_name(
    photos: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_image(photos / "a.png", spotted())
    data = (photos / "a.png").read_bytes()
    for name in ("b.jfif", "c", "d.mp4"):
        (photos / name).write_bytes(data)
    Image.fromarray(spotted()).save(photos / "e.gif")
    writer = cv2.VideoWriter(str(photos / "f.webm"), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"VP80"), 5, (96, 64))
    for _ in range(3):
        writer.write(spotted())
    writer.release()
    (photos / "g.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (photos / "notes.txt").write_text("no image")
    with caplog.at_level(logging.WARNING):
        result = run(weights, photos)
    assert [frame.path.name for frame in result.frames] == ["a.png", "b.jfif", "c", "d.mp4", "e.gif", *["f.webm"] * 3]
    assert all(len(frame.detections) == 2 for frame in result.frames[:5]) and not result.problems
    assert f"folder `{photos}`: 2 of 8 files skipped, not images or videos: .heic 1, .txt 1" in caplog.text
    drawn = sorted(path.name for path in result.run_folder.iterdir())
    assert drawn == ["a.png", "b.jfif", "c.jpg", "d.jpg", "e.jpg", "f.mp4"]
    (photos / "all.list.txt").write_text("f.webm\nc\nb.jfif\ne.gif\n")
    listed = run(weights, photos / "all.list.txt", nosave=True)
    assert [frame.path.name for frame in listed.frames] == [*["f.webm"] * 3, "c", "b.jfif", "e.gif"]


def test_files_of_a_list_that_are_no_images_are_problems(photos: Path, weights: Path) -> None:
    write_image(photos / "a.png", spotted())
    (photos / "b.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (photos / "c.doc").write_bytes(b"text")
    (photos / "all.txt").write_text("b.heic\na.png\nc.doc\n")
    result = run(weights, photos / "all.txt", project=photos.parent / "runs")
    assert [frame.path.name for frame in result.frames] == ["a.png"]
    assert ["b.heic" in result.problems[0], "c.doc" in result.problems[1]] == [True, True]


@pytest.mark.parametrize("place", ["", "labels", "crops/red"])
def test_sources_are_not_written_over(place: str, photos: Path, weights: Path) -> None:
    folder = photos / place
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "a.jpg", spotted())
    film(folder / "b.mp4")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(SettingsError, match=r"would be read, and lies in the folder .*\nhint: choose"):
        run(weights, folder, project=photos.parent, name="photos", exist_ok=True, save_crop=True, save_txt=True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    run(weights, folder, project=photos.parent, name="photos")  # gets a number
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_list_and_a_link_are_no_way_around_it(photos: Path, weights: Path, tmp_path: Path) -> None:
    write_image(photos / "a.jpg", spotted())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_image(elsewhere / "0.jpg", spotted())
    (elsewhere / "a.jpg").symlink_to(photos / "a.jpg")
    for source in (elsewhere, elsewhere / "a.jpg"):
        with pytest.raises(SettingsError, match="would be read"):
            run(weights, source, project=tmp_path, name="photos", exist_ok=True)


@pytest.mark.parametrize(
    ("stems", "image_ids"), [(("000139", "285"), [139, 285]), (("hive", "000139"), ["000139", "hive"])]
)
def test_predictions_load_in_pycocotools_and_agree_with_val_and_results_of_one_image(
    stems: tuple[str, ...], image_ids: list[object], photos: Path, tmp_path: Path
) -> None:
    names = COCO_NAMES
    weights = checkpoint_of(colour_detector(cell=16, names=names), tmp_path / "coco.safetensors")
    halves = np.zeros((64, 96, 3), np.uint8)
    halves[:, :48, 0] = halves[:, 48:, 1] = 255
    for stem in stems:
        write_image(photos / f"{stem}.png", halves)  # wherever `val` puts its border, some cells are of one colour
    folder = run(weights, photos, save_json=True, nosave=True).run_folder
    dataset = COCO()
    dataset.dataset = {
        "images": [{"id": one} for one in image_ids], "annotations": [],
        "categories": [{"id": one} for one in range(1, 91)],
    }  # fmt: skip
    dataset.createIndex()
    loaded = dataset.loadRes(str(folder / "predictions.json"))
    rows = json.loads((folder / "predictions.json").read_text())
    assert loaded.getImgIds() == image_ids and {row["category_id"] for row in rows} == {1, 2}
    detector = onelook.load(weights, imgsz=96, device="cpu")
    kept = ("image_id", "category_id")
    alone = [entry for result in detector(photos) for entry in result.to_coco()]
    assert [[row[key] for key in kept] for row in rows] == [[row[key] for key in kept] for row in alone]
    data = tmp_path / "data.yaml"
    data.write_text(f"train: photos\nval: photos\nnames: {json.dumps(list(names))}\n")
    more = {"imgsz": 96, "allow_unlabelled": True, "save_json": True, "noplots": True}
    validated = onelook.validate(weights, data, **more, device="cpu", workers=0, project=tmp_path / "val").run_folder
    of_val = json.loads((validated / "coco_predictions.json").read_text())
    assert {row["image_id"] for row in of_val} == set(image_ids) and {1, 2} <= {row["category_id"] for row in of_val}
    for row, entry in zip(rows, alone, strict=True):
        assert row["bbox"] == pytest.approx(entry["bbox"], abs=1e-3)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_video_that_does_not_fit_on_the_disk_is_named_and_not_left_unreadable(photos: Path, weights: Path) -> None:
    import resource

    film(photos / "a.mp4", num_frames=20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        result = run(weights, photos)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (problem,) = result.problems
    assert "a.mp4` was not written whole" in problem and result.num_frames == 20
    assert result.run_folder is not None and list(result.run_folder.iterdir()) == []


def test_names_may_be_as_long_as_the_file_system_allows(photos: Path, weights: Path) -> None:
    for stem in ("x" * 251, "\u00fc" * 125):
        write_image(photos / f"{stem}.png", spotted())
    result = run(weights, photos, save_txt=True)
    assert result.run_folder is not None and result.problems == ()
    assert {path.name for path in result.run_folder.glob("*.png")} == {path.name for path in photos.iterdir()}
    assert {path.stem for path in result.run_folder.glob("labels/*")} == {path.stem for path in photos.iterdir()}


def test_frames_of_a_video_have_ids_of_their_own(photos: Path, weights: Path) -> None:
    with VideoWriter(photos / "7.mp4", fps=5, size_hw=(64, 96)) as writer:
        writer.write(spotted())
        writer.write(spotted())
    write_image(photos / "8.png", spotted())
    folder = run(weights, photos, save_json=True, nosave=True).run_folder
    rows = json.loads((folder / "predictions.json").read_text())
    assert list(dict.fromkeys(row["image_id"] for row in rows)) == ["8", "7_0", "7_1"]
