"""All commands: what the list of them says, and what `--help` of each begins with and shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command; its arguments, which take longer to import, are in `arguments.py`.

    Attributes:
        example: a line that does what most people want of it.
        common: the ten options that people use, where it has many more, which `--help-all` shows; else empty.
    """

    summary: str
    example: str
    common: str = ""


COMMANDS = {
    "train": Command(
        "train a detector",
        "onelook train --data bees.yaml --weights yolox-nano --epochs 100",
        "data weights cfg epochs batch_size imgsz device workers name resume",
    ),
    "val": Command(
        "validate a detector on a split of a dataset",
        "onelook val --weights runs/train/exp --data bees.yaml",
        "weights data task imgsz batch_size device conf_thres iou_thres save_json name",
    ),
    "detect": Command(
        "run a detector on images, videos and streams",
        "onelook detect --weights runs/train/exp --source photos",
        "weights source conf_thres iou_thres classes imgsz device save_txt nosave view_img",
    ),
    "export": Command(
        "export a detector to other formats, and compare it",
        "onelook export --weights runs/train/exp --format onnx",
        "weights format imgsz data dynamic half int8 nms output device",
    ),
    "benchmark": Command(
        "measure a detector in several formats",
        "onelook benchmark --weights runs/train/exp --format onnx,openvino",
        "weights format data imgsz batch_size half int8 rounds device name",
    ),
    "serve": Command(
        "answer requests for detections over HTTP",
        "onelook serve --weights runs/train/exp --port 8000",
        "weights host port conf_thres iou_thres classes imgsz device batch_size max_megabytes",
    ),
    "report": Command(
        "write a page about a run, or one that compares several", "onelook report runs/train/exp runs/train/exp2"
    ),
    "evolve": Command(
        "search for better hyperparameters",
        "onelook evolve --data bees.yaml --cfg yolov5n --evolve 100",
        "data weights cfg evolve epochs imgsz evolve_method resume_evolve device name",
    ),
    "models": Command("list the shipped models with their sizes", "onelook models yolox-nano yolov5s"),
    "anchors": Command(
        "measure how well anchors suit a dataset, and find better ones", "onelook anchors bees.yaml --cfg yolov5s"
    ),
    "check": Command("report what is wrong with a dataset, and how to fix it", "onelook check bees.yaml"),
    "info": Command("show what a weights file contains", "onelook info runs/train/exp"),
    "env": Command("show versions and machine, for bug reports", "onelook env"),
    "convert": Command("convert YOLOv5 weights to Onelook's format, or shrink weights", "onelook convert yolov5s.pt"),
    "convert-data": Command(
        "convert a dataset to another label format", "onelook convert-data bees.yaml --to coco --out bees-coco"
    ),
    "download": Command("download a dataset or published weights", "onelook download yolox-nano"),
    "split": Command(
        "split a dataset: by hash, class or group, or in folds",
        "onelook split bees.yaml --output bees-split --fractions 0.7 0.2 0.1",
    ),
    "autosplit": Command("divide a folder of images into train, val and test lists", "onelook autosplit images"),
}
