"""Every setting of a validation and of a detection does what its text says; each test fails if it is ignored."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from command_runs import Home
from command_runs import run as run_command
from option_runs import Options, Trace, covers, fit

from onelook.errors import DataError, DeviceError, ModelError, SettingsError
from onelook.geometry.iou import box_iou
from onelook.recipes.check import check
from onelook.recipes.detect import DetectResult, detect
from onelook.recipes.validate import ValidateResult, validate
from onelook.structures.detections import Detections

SIDE_PX = 96  # of the images


def measure(home: Home, **changes: Any) -> ValidateResult:
    fixed = {"weights": home.weights, "data": home.yaml, "imgsz": 64, "workers": 0, "device": "cpu", "noplots": True}
    return validate({**fixed, **changes})


def look(home: Home, **changes: Any) -> DetectResult:
    fixed = {"weights": home.weights, "source": home.data / "images" / "test", "imgsz": 64, "device": "cpu"}
    return detect({**fixed, "conf_thres": 0.001, "nosave": True, **changes})


def inputs_of(run: Any, *given: Any, **changes: Any) -> list[tuple[int, ...]]:
    """Shapes of what goes into the network."""
    trace = Trace()
    with trace.watching():
        run(*given, **changes)
    return trace.inputs


def largest_overlap(detections: Detections, *, same_class: bool) -> float:
    """IoU, 0 to 1, of the two boxes of an image that overlap most; boxes at its border are cut and do not count."""
    inside = ((detections.boxes > 0) & (detections.boxes < SIDE_PX)).all(axis=1)
    boxes, class_ids = torch.from_numpy(detections.boxes[inside]), detections.class_ids[inside]
    overlap = box_iou(boxes, boxes).numpy()
    ignored = np.eye(len(overlap), dtype=bool)
    if same_class:
        ignored |= class_ids[:, None] != class_ids
    return float(np.where(ignored, 0, overlap).max(initial=0))


@covers("val", "task", "data")
@pytest.mark.parametrize(("task", "images"), [("train", 20), ("val", 6), ("test", 4)])
def test_the_task_is_the_split(home: Home, task: str, images: int) -> None:
    assert measure(home, task=task).metrics.num_images == images


@covers("val", "weights")
@covers("detect", "weights")
def test_other_weights_find_other_things(home: Home, options: Options) -> None:
    other = fit(options, weights=home.weights, cfg="", epochs=2, batch_size=4, lr0=0.05).result.best
    assert measure(home, weights=other).metrics.map50_95 != measure(home).metrics.map50_95
    one, two = (look(home, weights=weights).frames[0].detections for weights in (home.weights, other))
    assert len(one) != len(two) or not np.array_equal(one.boxes, two.boxes)


@covers("val", "batch_size", "imgsz")
@covers("detect", "batch_size", "imgsz")
def test_batches_and_sizes_are_those_asked_for(home: Home) -> None:
    assert inputs_of(measure, home, batch_size=4) == [(4, 3, 96, 96), (2, 3, 96, 96)], "half a stride of border"
    assert inputs_of(measure, home, imgsz=96) == [(6, 3, 128, 128)]
    assert inputs_of(look, home, batch_size=3) == [(3, 3, 64, 64), (1, 3, 64, 64)]
    assert inputs_of(look, home, imgsz=[128]) == [(4, 3, 128, 128)]
    assert inputs_of(look, home, imgsz=[64, 128]) == [(4, 3, 64, 64)], "the smallest frame that holds the image"


@covers("val", "conf_thres", "max_det", "iou_thres")
def test_validation_keeps_what_the_thresholds_allow(home: Home) -> None:
    usual = measure(home).evaluation.detections
    threshold = float(np.median(usual[0].scores))
    strong = measure(home, conf_thres=threshold).evaluation.detections
    assert all((found.scores >= threshold).all() for found in strong) and 0 < sum(map(len, strong)) < sum(
        map(len, usual)
    )
    assert {len(found) for found in measure(home, max_det=3).evaluation.detections} == {3}
    assert max(largest_overlap(found, same_class=True) for found in usual) > 0.3
    apart = measure(home, iou_thres=0.2).evaluation.detections
    assert max(largest_overlap(found, same_class=True) for found in apart) <= 0.2 + 1e-4


@covers("detect", "conf_thres", "max_det", "iou_thres", "agnostic_nms")
def test_detection_keeps_what_the_thresholds_allow(home: Home) -> None:
    def found(**changes: Any) -> list[Detections]:
        return [frame.detections for frame in look(home, imgsz=[256], **changes).frames]

    usual = found()
    threshold = float(np.median(usual[0].scores))
    strong = found(conf_thres=threshold)
    assert all((kept.scores >= threshold).all() for kept in strong) and 0 < sum(map(len, strong)) < sum(map(len, usual))
    assert {len(kept) for kept in found(max_det=3)} == {3}
    assert max(largest_overlap(kept, same_class=True) for kept in usual) > 0.3
    apart = found(iou_thres=0.2)
    assert max(largest_overlap(kept, same_class=True) for kept in apart) <= 0.2 + 1e-4
    assert max(largest_overlap(kept, same_class=False) for kept in apart) > 0.2 + 1e-4
    agnostic = found(iou_thres=0.2, agnostic_nms=True)
    assert max(largest_overlap(kept, same_class=False) for kept in agnostic) <= 0.2 + 1e-4


def test_more_labels_than_detections_that_count_are_said_by_val_and_train(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (home.val("--max-det", 1), home.train("--max-det", 1, "--project", "runs")):
        outcome = run_command(words, capsys)
        assert outcome.code == 0
        assert "with more labels than detections that count (1 an image), up to 3 in `" in outcome.err
        assert "use `--max-det 3`" in outcome.err
    assert "more labels" not in run_command(home.val("--max-det", 3), capsys).err


@covers("val", "device")
@covers("detect", "device")
def test_a_device_that_is_not_there_is_refused(home: Home) -> None:
    for run in (measure, look):
        with pytest.raises(DeviceError, match="`device` is `77`"):
            run(home, device="77")


@covers("val", "workers")
def test_workers_load_the_images_and_change_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from onelook.inference import evaluator

    children: list[int] = []
    nms = evaluator.non_max_suppression

    def note(*arguments: Any, **options: Any) -> Any:
        children.append(len(multiprocessing.active_children()))
        return nms(*arguments, **options)

    monkeypatch.setattr(evaluator, "non_max_suppression", note)
    alone, helped = measure(home, batch_size=2), measure(home, batch_size=2, workers=1)
    assert children[0] == 0 and max(children) == 1
    assert alone.metrics.map50_95 == helped.metrics.map50_95


@covers("val", "single_cls")
def test_single_cls_counts_all_as_one(home: Home, options: Options) -> None:
    one = fit(options, single_cls=True).result.best
    result = measure(home, weights=one, single_cls=True)
    assert result.names == ("item",) and result.metrics.class_ids.tolist() == [0]
    with pytest.raises(ModelError, match="have 1 class,"):
        measure(home, weights=one)


@covers("val", "save_json", "noplots", "visualize")
def test_validation_writes_what_is_asked_for(home: Home) -> None:
    usual, all_files = (
        {path.name for path in measure(home, **changes).run_folder.iterdir()}
        for changes in ({}, {"save_json": True, "noplots": False, "visualize": True})
    )
    assert usual == {"labels.json", "metrics.json", "metrics.npz"}
    assert {
        "coco_truth.json",
        "coco_predictions.json",
        "confusion_matrix.png",
        "PR_curve.png",
        "val_batch0.jpg",
    } <= all_files
    assert {"val_images.html", "val_images"} <= all_files


@covers("val", "project", "name", "exist_ok")
@covers("detect", "project", "name", "exist_ok")
def test_run_folders_are_where_they_were_asked_for(home: Home, tmp_path: Path) -> None:
    wanted = ({}, {}, {"name": "bees"}, {"name": "bees", "exist_ok": True})
    for run, kind in ((measure, "val"), (look, "detect")):
        written = {"save_csv": True} if kind == "detect" else {}
        folders = [run(home, project=tmp_path / kind, **written, **changes).run_folder for changes in wanted]
        assert [str(folder.relative_to(tmp_path)) for folder in folders if folder is not None] == [
            f"{kind}/exp", f"{kind}/exp2", f"{kind}/bees", f"{kind}/bees",
        ]  # fmt: skip


@covers("val", "strict", "allow_unlabelled")
def test_strict_and_allow_unlabelled_decide_what_data_are_good_enough(home: Home) -> None:
    home.label("val").write_text("0 .5 .5 .2\n0 .5 .5 .2 .2\n")
    assert measure(home).metrics.num_images == 6
    with pytest.raises(DataError, match=r"000\.txt` line 1"):
        measure(home, strict=True)
    shutil.rmtree(home.data / "labels" / "val")
    with pytest.raises(DataError, match="have no label file"):
        measure(home)
    assert measure(home, allow_unlabelled=True).metrics.num_labels == 0


@covers("val", "max_pixels")
@covers("detect", "max_pixels")
@covers("train", "max_pixels")
@covers("check", "max_pixels")
def test_images_with_more_pixels_are_refused_by_every_command_unless_they_are_allowed(
    home: Home, options: Options
) -> None:
    for split in ("train", "val", "test"):
        cv2.imwrite(str(home.image(split)), cv2.resize(cv2.imread(str(home.image(split))), (200, 200)))
    limits = {"max_pixels": SIDE_PX**2}
    assert [measure(home, **given).metrics.num_images for given in ({}, limits)] == [6, 5]
    assert [len(look(home, **given).frames) for given in ({}, limits)] == [4, 3]
    refused = "200 x 200 pixels are more than the limit of 9,216: `--max-pixels 40000` would allow them"
    assert refused in look(home, **limits).problems[0]
    for given in ({"cache": "disk"}, {"noplots": False}):
        with pytest.raises(DataError, match="the limit of 9,216"):
            fit(options, data=home.yaml, strict=True, **limits, **given)
    assert fit(options, data=home.yaml, strict=True, cache="disk").result.best.is_file()
    kinds = [[one.kind for one in check({"data": home.yaml, **given}).diagnosis.findings] for given in ({}, limits)]
    assert [found.count("bomb") for found in kinds] == [0, 3]


@covers("detect", "source")
def test_the_source_is_an_image_a_folder_a_pattern_or_a_list(home: Home) -> None:
    folder = home.data / "images" / "val"
    listed = home.file("list.txt", f"{folder / '004.jpg'}\n{folder / '001.jpg'}\n")
    for source, names in (
        (folder / "003.jpg", ["003"]),
        (folder, ["000", "001", "002", "003", "004", "005"]),
        (folder / "00[12].jpg", ["001", "002"]),
        (listed, ["004", "001"]),
    ):
        assert [frame.path.stem for frame in look(home, source=source).frames] == names


@covers("detect", "classes")
def test_only_the_classes_asked_for_are_kept(home: Home) -> None:
    for wanted in ([0], [1], [0, 1]):
        found = {int(i) for frame in look(home, classes=wanted).frames for i in frame.detections.class_ids}
        assert found == set(wanted)


@covers("detect", "vid_stride")
def test_vid_stride_uses_every_nth_frame(home: Home) -> None:
    video = home.work / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 96))
    for _ in range(7):
        writer.write(cv2.imread(str(home.image())))
    writer.release()
    assert [frame.number for frame in look(home, source=video).frames] == list(range(7))
    assert [frame.number for frame in look(home, source=video, vid_stride=3).frames] == [0, 3, 6]


@covers("detect", "nosave", "save_txt", "save_csv", "save_json", "save_crop")
@pytest.mark.parametrize(
    ("changes", "files"),
    [
        ({"nosave": False}, {"000.jpg", "001.jpg", "002.jpg", "003.jpg"}),
        ({"save_txt": True}, {"labels"}),
        ({"save_csv": True}, {"predictions.csv"}),
        ({"save_json": True}, {"predictions.json"}),
        ({"save_crop": True}, {"crops"}),
    ],
    ids=lambda value: "+".join(sorted(value)),
)
def test_detection_writes_what_is_asked_for_and_no_more(home: Home, changes: Options, files: set[str]) -> None:
    folder = look(home, max_det=2, **changes).run_folder
    assert folder is not None and {path.name for path in folder.iterdir()} == files


@covers("detect", "save_conf")
def test_save_conf_adds_the_score(home: Home) -> None:
    columns = {}
    for scores in (False, True):
        folder = look(home, save_txt=True, save_conf=scores).run_folder
        assert folder is not None
        columns[scores] = {len(line.split()) for line in (folder / "labels" / "000.txt").read_text().splitlines()}
    assert columns == {False: {5}, True: {6}}
    with pytest.raises(SettingsError, match="`save_conf` has no effect"):
        look(home, save_conf=True)


@covers("detect", "line_thickness", "hide_labels", "hide_conf")
def test_boxes_are_drawn_as_asked_for(home: Home) -> None:
    large = home.work / "large.png"
    cv2.imwrite(str(large), cv2.resize(cv2.imread(str(home.image())), (640, 640)))
    drawn = {}
    changes_of: dict[str, Options] = {
        "usual": {},
        "thick": {"line_thickness": 9},
        "no labels": {"hide_labels": True},
        "no scores": {"hide_conf": True},
    }
    for name, changes in changes_of.items():
        folder = look(home, source=large, nosave=False, max_det=1, **changes).run_folder
        assert folder is not None
        drawn[name] = cv2.imread(str(folder / "large.png"))
    touched = {name: int((image != cv2.imread(str(large))).any(axis=2).sum()) for name, image in drawn.items()}
    assert touched["thick"] > touched["usual"] > touched["no scores"] > touched["no labels"] > 0


def test_written_predictions_are_those_of_the_result(home: Home) -> None:
    result = look(home, save_json=True)
    assert result.run_folder is not None
    written = json.loads((result.run_folder / "predictions.json").read_text())
    assert len(written) == sum(len(frame.detections) for frame in result.frames)
