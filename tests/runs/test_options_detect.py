"""Settings of a detection: sources, tiles, windows and further files; each test fails if its setting is ignored."""

from __future__ import annotations

import logging
import signal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command_runs import Home, run
from option_runs import Trace, covers
from web_server import send, send_images, serving

from onelook.cli.arguments import ARGUMENTS
from onelook.cli.parser import Parser
from onelook.data.media import VideoWriter, video_frames, video_info
from onelook.errors import DataError, SettingsError, StopRequested
from onelook.files.images import read_image, write_image
from onelook.inference.detection_results import FrameResult
from onelook.recipes.detect import DetectResult, detect
from onelook.runs.checkpoint import load_checkpoint
from onelook.settings.command_line import typed_options
from onelook.settings.detect import DetectSettings

# What users of YOLOv5 type behind `detect`, and the setting that takes it.
TYPED = {
    "--weights a.pt b.pt": "weights", "--source 0": "source", "--imgsz 320": "imgsz", "--img 320 640": "imgsz",
    "--img-size 320": "imgsz", "--conf-thres 0.1": "conf_thres", "--iou-thres 0.1": "iou_thres",
    "--max-det 5": "max_det", "--device cpu": "device", "--view-img": "view_img", "--save-txt": "save_txt",
    "--save-conf": "save_conf",
    "--save-crop": "save_crop", "--nosave": "nosave", "--save-csv": "save_csv", "--save-format 1": "save_format",
    "--classes 0 2": "classes", "--agnostic-nms": "agnostic_nms", "--augment": "augment", "--visualize": "visualize",
    "--update": "update", "--project p": "project", "--name n": "name", "--exist-ok": "exist_ok",
    "--line-thickness 1": "line_thickness", "--hide-labels": "hide_labels", "--hide-conf": "hide_conf",
    "--half": "half", "--vid-stride 2": "vid_stride",
}  # fmt: skip


@pytest.mark.parametrize("typed", TYPED)
def test_every_option_of_yolov5_is_taken(typed: str) -> None:
    parser = Parser(prog="onelook detect")
    ARGUMENTS["detect"](parser)
    assert list(typed_options(parser.parse_args(typed.split()), DetectSettings)) == [TYPED[typed]]


@pytest.mark.parametrize(("typed", "reason"), [("--dnn", "ONNX Runtime"), ("--data x", "names are in the weights")])
def test_the_others_are_refused_with_the_reason(
    typed: str, reason: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(home.detect(*typed.split()), capsys)
    assert outcome.code == 2 and f"unknown option `{typed.split()[0]}`" in outcome.err and reason in outcome.err


def look(home: Home, **changes: Any) -> DetectResult:
    fixed = {"weights": home.weights, "source": home.image("test"), "imgsz": 64, "device": "cpu"}
    return detect({**fixed, "conf_thres": 0.001, "nosave": True, **changes})


def inputs_of(home: Home, **changes: Any) -> list[tuple[int, ...]]:
    """Shapes of what goes into the network."""
    trace = Trace()
    with trace.watching():
        look(home, **changes)
    return trace.inputs


def film(path: Path, num_frames: int) -> Path:
    """A video whose frames bear their number: one bit in each square of 16 pixels, black or white."""
    with VideoWriter(path, fps=25, size_hw=(48, 64)) as writer:
        for number in range(num_frames):
            bits = np.array([number >> place & 1 for place in range(12)], np.uint8).reshape(3, 4)
            writer.write(np.kron(bits * 255, np.ones((16, 16), np.uint8))[..., None].repeat(3, axis=2))
    return path


def number_in(image: np.ndarray) -> int:
    """The number of a frame of `film`."""
    bits = image[8::16, 8::16].mean(axis=2) > 127
    return int((bits.ravel() * 2 ** np.arange(12)).sum())


@covers("detect", "source")
def test_several_sources_are_processed_in_the_order_typed(home: Home) -> None:
    sources = [home.image("test", 2), home.data / "images" / "val", home.image("test", 0)]
    result = look(home, source=sources)
    assert [frame.path.stem for frame in result.frames] == ["002", "000", "001", "002", "003", "004", "005", "000"]
    assert [(frame.file_number, frame.num_files) for frame in result.frames] == [(n, 8) for n in range(1, 9)]


def test_a_file_in_the_web_is_fetched_looked_at_and_removed(home: Home) -> None:
    data = home.image("test").read_bytes()
    with serving(lambda request: send(request, data)) as server:
        address = f"{server.address}/bees/hive.jpg".replace("//", "//bee:secret@") + "?key=1"
        result = look(home, source=address, save_csv=True, nosave=False)
    frame = result.frames[0]
    assert frame.place == f"{server.address}/bees/hive.jpg" and not frame.path.exists()
    assert np.array_equal(frame.detections.boxes, look(home).frames[0].detections.boxes)
    assert result.run_folder is not None
    assert {path.name for path in result.run_folder.iterdir()} == {"hive.jpg", "predictions.csv"}
    assert "secret" not in (result.run_folder / "predictions.csv").read_text()
    assert frame.place in (result.run_folder / "predictions.csv").read_text()


@covers("detect", "reconnect")
def test_a_stream_that_breaks_off_is_connected_again_as_often_as_asked(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("onelook.inference.sources.open_sources.FIRST_WAIT_SECONDS", 0.01)
    for attempts, connections, expected in ((0, [5], 1), (3, [5, 4, 3], 3 + 3)):
        left = iter(connections)
        with serving(lambda request, left=left: send_images(request, [90] * next(left, 0))) as server:  # type: ignore[misc]
            result = look(home, source=f"{server.address}/hive", reconnect=attempts, save_txt=True, nosave=False)
        assert len(server.asked) == expected
        count = result.live[0]
        assert (count.reconnected, count.taken + count.dropped) == (len(connections) - 1, sum(connections))
        assert result.num_frames == count.taken == len(result.frames)
        assert result.problems and server.address in result.problems[0]
        folder, stem = result.run_folder, f"http_127_0_0_1_{server.address.rpartition(':')[2]}_hive"
        assert folder is not None and len(list(video_frames(folder / f"{stem}.mp4"))) == count.taken
        names = sorted(f"{stem}_{frame.number}.txt" for frame in result.frames)
        assert sorted(path.name for path in (folder / "labels").iterdir()) == names


def test_several_streams_are_processed_at_the_same_time(home: Home) -> None:
    with serving(lambda request: send_images(request, [40 if request.path == "/a" else 200] * 3)) as server:
        listed = home.file("yard.streams", f"# the yard\n{server.address}/a\n{server.address}/b\n")
        result = look(home, source=str(listed), reconnect=0, nosave=False, conf_thres=1)
    assert [count.taken + count.dropped for count in result.live] == [3, 3]
    folder = result.run_folder
    assert folder is not None
    videos = sorted(folder.iterdir())
    assert [path.name[-6:] for path in videos] == ["_a.mp4", "_b.mp4"]
    assert [round(float(next(video_frames(path))[1].mean()), -1) < 100 for path in videos] == [True, False]


@covers("detect", "vid_stride")
def test_a_stride_leaves_frames_of_streams_out(home: Home) -> None:
    with serving(lambda request: send_images(request, [90] * 7)) as server:
        result = look(home, source=f"{server.address}/a", reconnect=0, vid_stride=3)
    assert result.live[0].taken + result.live[0].dropped == 3
    assert {frame.number for frame in result.frames} <= {0, 3, 6}


def test_a_stream_can_be_stopped_and_its_film_plays(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        send_images(request, iter(lambda: 90, 0))

    def stop_after_some(frame: FrameResult) -> None:
        if frame.number is not None and frame.number >= 5:
            signal.raise_signal(signal.SIGINT)

    with serving(endless) as server, pytest.raises(StopRequested, match="SIGINT"):
        given = {"weights": home.weights, "source": f"{server.address}/a", "imgsz": 64, "device": "cpu"}
        detect(given, observer=stop_after_some)
    (video,) = Path("runs/detect/exp").iterdir()
    assert video.suffix == ".mp4" and len(list(video_frames(video))) >= 1


def test_every_frame_of_a_video_is_written_once_in_order(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    path = film(home.work / "hive.mp4", 300)
    outcome = run(home.detect("--source", path, "--conf-thres", 0.99, "--save-txt"), capsys)
    assert (outcome.code, outcome.err) == (0, "")
    folder = Path("runs/detect/exp")
    info = video_info(folder / "hive.mp4")
    assert (info.num_frames, info.fps, info.size_hw) == (300, 25.0, (48, 64))
    assert [number_in(image) for _, image in video_frames(folder / "hive.mp4")] == list(range(300))
    assert {path.name for path in (folder / "labels").iterdir()} == {f"hive_{number}.txt" for number in range(300)}
    lines = [line for line in outcome.out.splitlines() if " frame " in line]
    assert [line.split(" frame ")[1].split(":")[0] for line in lines] == [f"{number}/300" for number in range(300)]


@covers("detect", "tile", "tile_overlap")
def test_tiles_are_as_large_and_overlap_as_much_as_asked(home: Home) -> None:
    large = home.work / "large.png"
    write_image(large, np.zeros((128, 192, 3), np.uint8))
    assert inputs_of(home, source=large, batch_size=99) == [(1, 3, 64, 64)]
    assert sorted(inputs_of(home, source=large, batch_size=99, tile=64, tile_overlap=0)) == [(7, 3, 64, 64)]
    assert sorted(inputs_of(home, source=large, batch_size=99, tile=64, tile_overlap=0.5)) == [(16, 3, 64, 64)]
    assert inputs_of(home, source=large, batch_size=99, tile=192) == [(1, 3, 64, 64)], "no tile is larger than it"
    assert max(shape[0] for shape in inputs_of(home, source=large, batch_size=4, tile=64)) == 4


@covers("detect", "visualize")
def test_visualize_writes_the_maps_of_every_layer(home: Home) -> None:
    result = look(home, visualize=True, source=home.data / "images" / "test")
    assert result.run_folder is not None and {path.name for path in result.run_folder.iterdir()} == {"features"}
    folders = sorted((result.run_folder / "features").iterdir())
    assert [folder.name for folder in folders] == ["000", "001", "002", "003"]
    arrays = sorted(folders[0].glob("*.npy"))
    assert len(arrays) == len(load_detector_rows(home)) and arrays[0].name.startswith("row00_")
    values = np.load(arrays[0], allow_pickle=False)
    assert values.ndim == 3 and values.dtype == np.float32 and np.ptp(values) > 0
    assert read_image(arrays[0].with_suffix(".png")).ndim == 3
    other = np.load(folders[1] / arrays[0].name, allow_pickle=False)
    assert not np.array_equal(values, other), "each image has its own"
    assert np.array_equal(
        result.frames[1].detections.boxes, look(home, source=home.image("test", 1)).frames[0].detections.boxes
    )


def load_detector_rows(home: Home) -> list[Any]:
    """Rows of the model but for the head."""
    definition = load_checkpoint(home.weights).document["definition"]
    return [*definition["backbone"], *definition["head"]][:-1]


def test_feature_maps_of_what_has_no_end_or_no_layers_are_refused(home: Home) -> None:
    with pytest.raises(SettingsError, match="writes some 20 MB a frame, and `camera 0` has no end"):
        look(home, visualize=True, source=0)


@covers("detect", "save_format")
def test_save_format_gives_corners_in_pixels(home: Home) -> None:
    lines = {}
    for kind in (0, 1):
        result = look(home, save_txt=True, save_format=kind)
        assert result.run_folder is not None
        text = (result.run_folder / "labels" / "000.txt").read_text()
        lines[kind] = np.array([[float(word) for word in line.split()[1:]] for line in text.splitlines()])
        boxes = result.frames[0].detections.boxes
    assert len(boxes) > 0 and lines[0].max() <= 1
    assert lines[1] == pytest.approx(boxes, rel=1e-4, abs=1e-3)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / 96
    assert lines[0][:, :2] == pytest.approx(centres, rel=1e-3, abs=1e-4)


@covers("detect", "update")
def test_update_writes_the_detector_beside_the_checkpoint(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    last = home.work / "last.safetensors"
    last.write_bytes((home.weights.parent / "last.safetensors").read_bytes())
    before = last.read_bytes()
    result = look(home, weights=last, update=True)
    target = home.work / "last_inference.safetensors"
    assert result.inference_files == (target,) and last.read_bytes() == before
    assert target.stat().st_size < len(before) / 2
    document = load_checkpoint(target).document
    assert document["kind"] == "detector" and document["names"] == ["square", "disc"] and "progress" not in document
    assert np.array_equal(look(home, weights=target).frames[0].detections.boxes, result.frames[0].detections.boxes)
    assert look(home, weights=last, update=True).inference_files == (target,), "the same content may be there"
    target.write_bytes(b"something else")
    with pytest.raises(SettingsError, match=r"last_inference\.safetensors` already exists"):
        look(home, weights=last, update=True)
    assert target.read_bytes() == b"something else"
    caplog.set_level(logging.INFO)
    assert look(home, update=True).inference_files == (home.weights,)
    assert "holds no training state: nothing to update" in caplog.text
    assert look(home).inference_files == ()


@pytest.mark.parametrize("name", ["a.pt", "a.onnx"])
def test_update_is_for_our_checkpoints(name: str, home: Home) -> None:
    from onelook.training.detector_file import write_inference_file

    with pytest.raises(SettingsError, match=rf"for checkpoints of Onelook, which `{name}` is not"):
        write_inference_file(Path(name))


@covers("detect", "view_img")
def test_view_img_shows_what_was_found_until_q_is_pressed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's functions for windows are replaced: the build that is tested with has none."""
    shown: list[tuple[str, np.ndarray]] = []
    waited: list[int] = []

    def wait_key(milliseconds: int) -> int:
        waited.append(milliseconds)
        return ord("q") if len(waited) == 3 else -1

    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:   GTK3\n")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "imshow", lambda name, image: shown.append((name, image)))
    monkeypatch.setattr(cv2, "waitKey", wait_key)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    for name in ("namedWindow", "resizeWindow", "destroyAllWindows"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    result = look(home, source=home.data / "images" / "test", view_img=True, hide_conf=True)
    assert result.num_frames == len(shown) == 3 and waited == [0, 0, 0] and {name for name, _ in shown} == {"onelook"}
    assert (shown[0][1][..., ::-1] != read_image(home.image("test"))).any() and result.run_folder is None
    shown.clear()
    look(home, source=film(home.work / "a.mp4", 2), view_img=True)
    assert [name for name, _ in shown] == [str(home.work / "a.mp4")] * 2 and waited[3:] == [1, 1]
    shown.clear()
    look(home)
    assert not shown


def test_view_img_says_what_is_missing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:      NONE\n")
    with pytest.raises(SettingsError, match=r"this build of OpenCV has none\nhint: run: pip uninstall opencv-python-h"):
        look(home, view_img=True)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:   QT5\n")
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="needs a display, and this session has none"):
        look(home, view_img=True)
    assert not Path("runs").exists()


def test_a_stream_that_never_answers_leaves_no_folder(home: Home) -> None:
    with pytest.raises(DataError, match=r"no source of `rtsp://127\.0\.0\.1:1/a` can be used:\n  - stream") as caught:
        look(home, source="rtsp://u:secret@127.0.0.1:1/a", nosave=False)
    assert "secret" not in str(caught.value) and not Path("runs").exists() and not list(Path().iterdir())
