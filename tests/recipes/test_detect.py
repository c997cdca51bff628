"""A detection run end to end, with a model made by hand: every kind of file it can write."""

from __future__ import annotations

import csv
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from colours import checkpoint_of, colour_detector

from onelook.callbacks.detection_files import DetectionFiles
from onelook.data.media import VideoWriter, video_frames, video_info
from onelook.drawing.crops import crop, folder_name
from onelook.errors import DataError, SettingsError
from onelook.files.image_bands import BandedImage
from onelook.files.images import read_image, write_image
from onelook.inference.frame_predictor import FramePredictor
from onelook.inference.sources import Frame
from onelook.inference.sources.open_sources import OpenSources
from onelook.recipes.detect import FrameResult, detect, open_predictor
from onelook.settings.build import build_settings
from onelook.settings.detect import DetectSettings

NAMES = ("red/ish", "=green")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every 16 x 16 cell that is red (class 0) or green (class 1) is an object of just that cell."""
    model = colour_detector(cell=16, names=NAMES)
    return checkpoint_of(model, tmp_path_factory.mktemp("weights") / "colour.safetensors")


def sample_image(*spots: tuple[int, int, int]) -> np.ndarray:
    """64 high, 96 wide, black, with spots (x, y, channel) of 16 pixels."""
    image = np.zeros((64, 96, 3), np.uint8)
    for x, y, channel in spots:
        image[y : y + 16, x : x + 16, channel] = 255
    return image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    write_image(folder / "a.png", sample_image((16, 32, 0), (64, 0, 1)))
    write_image(folder / "b.bmp", sample_image())
    return folder


@pytest.fixture
def run(tmp_path: Path, weights: Path):  # type: ignore[no-untyped-def]
    def start(source: Path | str, observer=None, **options: object):  # type: ignore[no-untyped-def]
        given = {"weights": weights, "source": source, "imgsz": [96], "device": "cpu"}
        return detect({**given, "project": tmp_path / "runs", **options}, observer=observer)

    return start


def test_images_are_written_under_their_names_with_boxes(photos: Path, run) -> None:  # type: ignore[no-untyped-def]
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    result = run(photos)
    assert result.run_folder.name == "exp"
    assert sorted(path.name for path in result.run_folder.iterdir()) == ["a.png", "b.bmp"]
    drawn, plain = read_image(result.run_folder / "a.png"), read_image(photos / "a.png")
    assert drawn.shape == plain.shape
    assert (drawn != plain).any()
    assert np.array_equal(read_image(result.run_folder / "b.bmp"), read_image(photos / "b.bmp"))
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before


def test_result_and_observer_tell_the_same(photos: Path, run) -> None:  # type: ignore[no-untyped-def]
    seen: list[FrameResult] = []
    result = run(photos, observer=seen.append)
    assert [frame.path.name for frame in result.frames] == ["a.png", "b.bmp"]
    assert [len(frame.detections) for frame in seen] == [2, 0]
    assert seen == list(result.frames)
    assert (seen[0].number, seen[0].size_hw) == (None, (64, 96))
    assert set(result.milliseconds) == {"wait for images", "predict", "write"}


def test_text_labels_are_fractions_of_the_image(photos: Path, run) -> None:  # type: ignore[no-untyped-def]
    folder = run(photos, save_txt=True, nosave=True).run_folder
    assert sorted(path.name for path in (folder / "labels").iterdir()) == ["a.txt", "b.txt"]
    rows = sorted(line.split() for line in (folder / "labels" / "a.txt").read_text().splitlines())
    assert rows == [["0", "0.25", "0.625", "0.166667", "0.25"], ["1", "0.75", "0.125", "0.166667", "0.25"]]
    assert (folder / "labels" / "b.txt").read_text() == ""
    assert not (folder / "a.png").exists()


def test_scores_stand_last_in_text_labels(photos: Path, run) -> None:  # type: ignore[no-untyped-def]
    result = run(photos, save_txt=True, save_conf=True, nosave=True)
    rows = [line.split() for line in (result.run_folder / "labels" / "a.txt").read_text().splitlines()]
    scores = [float(row[5]) for row in rows]
    assert scores == pytest.approx(result.frames[0].detections.scores.tolist(), rel=1e-5)


def test_csv_holds_a_line_per_detection_and_no_formula(photos: Path, run) -> None:  # type: ignore[no-untyped-def]
    result = run(photos, save_csv=True, nosave=True)
    with (result.run_folder / "predictions.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["class_id"])
    assert [row["class"] for row in rows] == ["red/ish", "'=green"]
    assert [float(rows[0][name]) for name in ("x1", "y1", "x2", "y2")] == pytest.approx([16, 32, 32, 48], abs=0.01)
    assert rows[0]["file"].endswith("a.png")
    assert rows[0]["frame"] == ""


def test_json_is_in_the_style_of_coco(photos: Path, run) -> None:  # type: ignore[no-untyped-def]
    result = run(photos, save_json=True, nosave=True)
    entries = json.loads((result.run_folder / "predictions.json").read_text())
    red = next(entry for entry in entries if entry["category_id"] == 0)
    assert red["bbox"] == pytest.approx([16, 32, 16, 16], abs=0.01)
    assert red["category_name"] == "red/ish"
    assert 0.8 < red["score"] <= 1


def test_crops_lie_in_a_folder_per_class_and_hold_the_object(photos: Path, run) -> None:  # type: ignore[no-untyped-def]
    write_image(photos / "a.jpg", sample_image((16, 32, 0), (48, 32, 0)))
    folder = run(photos, save_crop=True, nosave=True).run_folder / "crops"
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg"))
    assert found == ["=green/a_2.jpg", "red_ish/a.jpg", "red_ish/a_2.jpg", "red_ish/a_2_2.jpg"]
    for path in (folder / "red_ish").iterdir():
        piece = read_image(path)
        assert piece.shape[:2] in {(26, 26), (26, 27), (27, 26), (27, 27)}
        assert piece[13, 13, 0] > 200


def test_files_of_the_same_name_do_not_replace_each_other(photos: Path, run) -> None:  # type: ignore[no-untyped-def]
    (photos / "deep").mkdir()
    write_image(photos / "deep" / "a.png", sample_image((0, 0, 1)))
    folder = run(f"{photos}/**/a.png", save_txt=True).run_folder
    assert sorted(path.name for path in folder.glob("*.png")) == ["a.png", "a_2.png"]
    assert [len((folder / "labels" / f"{stem}.txt").read_text().splitlines()) for stem in ("a", "a_2")] == [2, 1]


def test_videos_come_out_as_mp4_with_labels_per_frame(tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    with VideoWriter(tmp_path / "film.mp4", fps=10, size_hw=(64, 96)) as writer:
        for x in (0, 16, 32, 48, 64):
            writer.write(sample_image((x, 16, 0)))
    result = run(tmp_path / "film.mp4", vid_stride=2, save_txt=True, batch_size=2)
    assert [frame.number for frame in result.frames] == [0, 2, 4]
    assert [frame.num_frames for frame in result.frames] == [5, 5, 5]
    lefts = [frame.detections.boxes[0, 0] for frame in result.frames]
    assert lefts == pytest.approx([0, 32, 64], abs=2)
    info = video_info(result.run_folder / "film.mp4")
    assert (info.fps, info.num_frames, info.size_hw) == (5.0, 3, (64, 96))
    assert len(list(video_frames(result.run_folder / "film.mp4"))) == 3
    names = sorted(path.name for path in (result.run_folder / "labels").iterdir())
    assert names == ["film_0.txt", "film_2.txt", "film_4.txt"]


def test_tiles_find_what_the_shrunken_image_does_not_show(tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    """Spots of 16 pixels in an image that is shrunk 7 times to fit; some lie in up to four tiles, and count once."""
    places = [(0, 0), (64, 64), (80, 64), (144, 80), (320, 208), (656, 400), (352, 0)]
    image = np.zeros((416, 672, 3), np.uint8)
    for number, (x, y) in enumerate(places):
        image[y : y + 16, x : x + 16, number % 2] = 255
    write_image(tmp_path / "large.png", image)
    assert len(run(tmp_path / "large.png", nosave=True).frames[0].detections) == 0
    found = run(tmp_path / "large.png", tile=96, tile_overlap=1 / 3, save_txt=True, nosave=True).frames[0].detections
    boxes = sorted((round(float(x)), round(float(y))) for x, y in found.boxes[:, :2])
    assert boxes == sorted(places)
    assert found.boxes[:, 2:] - found.boxes[:, :2] == pytest.approx(16, abs=0.1)
    classes = {
        (round(float(x)), round(float(y))): int(c)
        for (x, y), c in zip(found.boxes[:, :2], found.class_ids, strict=True)
    }
    assert [classes[place] for place in places] == [0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_tiles_of_an_image_above_the_limit_give_the_detections_of_the_whole(suffix: str, tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    image = np.zeros((416, 672, 3), np.uint8)
    for number, (x, y) in enumerate([(0, 0), (64, 64), (80, 64), (144, 80), (320, 208), (656, 400), (352, 0)]):
        image[y : y + 16, x : x + 16, number % 2] = 255
    image[208:416, 0:336, 0] = 255  # seen in the image as a whole
    path = tmp_path / f"large{suffix}"
    write_image(path, image)
    options = {"tile": 96, "tile_overlap": 1 / 3, "nosave": True, "save_txt": True, "batch_size": 3}
    whole = run(path, **options).frames[0]
    in_bands = run(path, **options, max_pixels=672 * 200).frames[0]
    assert in_bands.size_hw == whole.size_hw == (416, 672)
    np.testing.assert_array_equal(in_bands.detections.class_ids, whole.detections.class_ids)
    np.testing.assert_allclose(in_bands.detections.boxes, whole.detections.boxes, atol=0.01)
    np.testing.assert_allclose(in_bands.detections.scores, whole.detections.scores, atol=1e-4)
    assert len(whole.detections) > 7
    lines = (tmp_path / "runs/exp/labels/large.txt", tmp_path / "runs/exp2/labels/large.txt")
    assert [len(file.read_text().splitlines()) for file in lines] == [len(whole.detections)] * 2


def test_what_cannot_be_drawn_of_an_image_above_the_limit_is_named_and_its_detections_are_kept(
    photos: Path,
    run,  # type: ignore[no-untyped-def]
) -> None:
    result = run(photos, tile=32, max_pixels=64 * 95, save_crop=True, save_csv=True)
    assert len(result.problems) == 2, result.problems
    assert "`a.png` of 96 x 64 pixels is too large to be drawn" in (result.problems[0].replace(f"{photos}/", ""))
    assert sorted(path.name for path in result.run_folder.iterdir()) == ["predictions.csv"]
    assert len(result.frames[0].detections) > 0
    jpeg = photos / "c.jpg"
    write_image(jpeg, sample_image())
    with pytest.raises(DataError, match="--max-pixels 6144` would allow them"):
        run(jpeg, tile=32, max_pixels=64 * 95)


def test_an_image_in_bands_that_changed_or_cannot_be_shown_in_the_window_is_named(photos: Path, weights: Path) -> None:
    given = {"weights": weights, "source": photos, "imgsz": [96], "tile": 32, "nosave": True, "device": "cpu"}
    settings = build_settings(DetectSettings, {**given, "view_img": True})
    frames = [Frame(photos / name, BandedImage(photos / name, (64, 96), 64 * 95)) for name in ("b.bmp", "a.png")]
    frames[0].path.write_bytes(frames[0].path.read_bytes()[:200])
    problems: list[DataError] = []
    predictor = FramePredictor(settings, open_predictor(settings))
    (found,) = predictor.predict(OpenSources(iter([frames]), False), lambda: None, on_problem=problems.append)
    assert [(one.frame.path.name, len(one.result.detections) > 0) for one in found] == [("a.png", True)]
    DetectionFiles(None, settings, NAMES, on_problem=problems.append).write(found)
    assert len(problems) == 2, problems
    assert "b.bmp` cannot be used: the BMP is truncated" in problems[0].message
    assert "a.png` of 96 x 64 pixels is too large to be drawn or cropped" in problems[1].message


def test_an_ill_made_image_above_the_limit_does_not_end_the_run(photos: Path, run) -> None:  # type: ignore[no-untyped-def]
    data = bytearray((photos / "a.png").read_bytes())
    data[24] = 40  # bits
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (photos / "c.png").write_bytes(data)
    result = run(photos, tile=32, max_pixels=64 * 95, nosave=True, save_csv=True)
    assert [frame.path.name for frame in result.frames] == ["a.png", "b.bmp"]
    assert len(result.problems) == 1 and "c.png` cannot be used: the PNG header makes no sense" in result.problems[0]


def test_nothing_to_write_makes_no_folder(photos: Path, tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    result = run(photos, nosave=True)
    assert result.run_folder is None
    assert not (tmp_path / "runs").exists()
    assert len(result.frames[0].detections) == 2


def test_damaged_images_are_passed_over_and_named(photos: Path, run) -> None:  # type: ignore[no-untyped-def]
    (photos / "c.jpg").write_bytes(b"\xff\xd8\xff broken")
    result = run(photos, save_csv=True)
    assert [frame.path.name for frame in result.frames] == ["a.png", "b.bmp"]
    assert len(result.problems) == 1
    assert "c.jpg" in result.problems[0]


def test_a_source_of_damaged_images_only_is_an_error(tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff broken")
    with pytest.raises(DataError, match=r"no source of .* can be used:\n  - .*c\.jpg.*\nhint: save it again"):
        run(tmp_path / "c.jpg")


def test_files_of_what_was_seen_are_complete_when_an_observer_fails(photos: Path, tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    def fail(frame: FrameResult) -> None:
        raise DataError("enough")

    with pytest.raises(DataError, match="enough"):
        run(photos, observer=fail, save_json=True, batch_size=1)
    assert len(json.loads((tmp_path / "runs" / "exp" / "predictions.json").read_text())) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"save_conf": True}, "`save_conf` has no effect without `save_txt`"),
        ({"nosave": True, "hide_conf": True}, "no effect with `nosave`"),
        ({"imgsz": [90]}, "multiples of 16\nhint: use 96"),
        ({"imgsz": [96, 96, 96]}, "imgsz"),
        ({"classes": [2]}, "the model has classes 0 to 1"),
        ({"view_image": True}, "unknown settings"),
        ({"save_format": 1}, "`save_format` has no effect without `save_txt`"),
        ({"tile_overlap": 0.5}, "`tile_overlap` has no effect without `tile`"),
        ({"visualize": True, "tile": 64, "augment": True}, "not those of `augment` and `tile`"),
        ({"source": []}, "`source` is `\\[\\]`"),
        ({"source": ["a.png", ""]}, "a source is empty"),
    ],
)
def test_settings_without_sense_are_refused(photos: Path, run, options: dict[str, object], words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingsError, match=words):
        run(**{"source": photos, **options})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("person", "person"),
        ("a/b\\c", "a_b_c"),
        ("..", "class7"),
        ("x\ny", "x_y"),
        ("é", "é"),
        ("con:1", "con_1"),
        ("蜂" * 90, "蜂" * 66),
    ],
)
def test_class_names_become_harmless_folder_names(name: str, expected: str) -> None:
    assert folder_name(name, 7) == expected


def test_crops_end_at_the_image() -> None:
    image = np.arange(20 * 30 * 3, dtype=np.int64).reshape(20, 30, 3).astype(np.uint8)
    assert np.array_equal(crop(image, np.array([0, 0, 30, 20])), image)
    assert crop(image, np.array([10, 10, 10, 10])).shape == (10, 10, 3)
