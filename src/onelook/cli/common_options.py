"""What `--help` shows of each command: one example, and the options that people use; `--help-all` shows the others."""

from __future__ import annotations

EXAMPLES = {
    "train": "onelook train --data bees.yaml --weights yolox-nano --epochs 100",
    "val": "onelook val --weights runs/train/exp --data bees.yaml",
    "detect": "onelook detect --weights runs/train/exp --source photos",
    "export": "onelook export --weights runs/train/exp --format onnx",
    "benchmark": "onelook benchmark --weights runs/train/exp --format onnx,openvino",
    "serve": "onelook serve --weights runs/train/exp --port 8000",
    "report": "onelook report runs/train/exp runs/train/exp2",
    "evolve": "onelook evolve --data bees.yaml --cfg yolov5n --evolve 100",
    "models": "onelook models yolox-nano yolov5s",
    "anchors": "onelook anchors bees.yaml --cfg yolov5s",
    "check": "onelook check bees.yaml",
    "info": "onelook info runs/train/exp",
    "env": "onelook env",
    "convert": "onelook convert yolov5s.pt",
    "convert-data": "onelook convert-data bees.yaml --to coco --out bees-coco",
    "download": "onelook download yolox-nano",
    "split": "onelook split bees.yaml --output bees-split --fractions 0.7 0.2 0.1",
    "autosplit": "onelook autosplit images",
}
"""Command -> a line that does what most people want of it."""

COMMON = {
    "train": "data weights cfg epochs batch_size imgsz device workers name resume",
    "val": "weights data task imgsz batch_size device conf_thres iou_thres save_json name",
    "detect": "weights source conf_thres iou_thres classes imgsz device save_txt nosave view_img",
    "export": "weights format imgsz data dynamic half int8 nms output device",
    "benchmark": "weights format data imgsz batch_size half int8 rounds device name",
    "serve": "weights host port conf_thres iou_thres classes imgsz device batch_size max_megabytes",
    "evolve": "data weights cfg evolve epochs imgsz evolve_method resume_evolve device name",
}
"""Command -> the ten options that people use, where it has many more."""
