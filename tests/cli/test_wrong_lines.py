"""Wrong and foreign command lines: each gets its exit code, what is wrong, and the cure; none is led astray."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from onelook.cli.main import main

LINES = [
    # other names of options
    ("train --data b.yaml --model yolov5n.yaml", 2, "type `onelook train --data b.yaml --cfg yolov5n.yaml`"),
    ("train --data b.yaml --img-sz 320", 2, "type `onelook train --data b.yaml --imgsz 320`"),
    ("train --data b.yaml --learning-rate 0.1", 2, "type `onelook train --data b.yaml --lr0 0.1`"),
    ("train --data b.yaml --num-workers 4", 2, "type `onelook train --data b.yaml --workers 4`"),
    ("train --data b.yaml --pretrained a.pt", 2, "type `onelook train --data b.yaml --weights a.pt`"),
    ("train --data b.yaml --freeze-layers 10", 2, "type `onelook train --data b.yaml --freeze 10`"),
    ("train --data b.yaml --save_dir out", 2, "type `onelook train --data b.yaml --project out`"),
    ("train --data b.yaml --name y --overwrite", 2, "type `onelook train --data b.yaml --name y --exist-ok`"),
    ("train --resume-from x", 2, "type `onelook train --resume x`"),
    ("train resume=True", 2, "type `onelook train --resume`"),
    ("train --evolve 9 --population x", 2, "type `onelook train --evolve 9 --evolve-population x`"),
    ("evolve --generations 10", 2, "type `onelook evolve --evolve 10`"),
    (
        "detect --weights a.pt --source x --output out",
        2,
        "--source x --project out`",
    ),
    ("detect --weights a.pt --source x --nms-thresh 0.3", 2, "--iou-thres 0.3`"),
    ("detect --weights a.pt --source x --conf-threshold 0.4", 2, "--conf-thres 0.4`"),
    ("detect --weights a.pt --source x --show", 2, "type `onelook detect --weights a.pt --source x --view-img`"),
    ("val --weights a.pt --split test", 2, "type `onelook val --weights a.pt --task test`"),
    ("val model=a.pt data=b.yaml split=test", 2, "type `onelook val --weights a.pt --data b.yaml --task test`"),
    ("serve --weights a.pt --bind 0.0.0.0", 2, "type `onelook serve --weights a.pt --host 0.0.0.0`"),
    ("check --data b.yaml", 2, "type `onelook check b.yaml`"),
    ("info --weights a.pt", 2, "type `onelook info a.pt`"),
    ("split --data=b.yaml --out lists", 2, "type `onelook split b.yaml --out lists`"),
    ("train data=b.yaml batch=16 amp=True", 2, "type `onelook train --data b.yaml --batch-size 16 --amp auto`"),
    ("train data=b.yaml amp=False cache=False", 2, "type `onelook train --data b.yaml --amp off --cache none`"),
    ("train data=b.yaml cfg=yolov5n pretrained=False", 2, "type `onelook train --data b.yaml --cfg yolov5n`"),
    ("train --data b.yaml --n-epochs 10", 2, "type `onelook train --data b.yaml --epochs 10`"),
    ("train --dataset-dir data", 2, "type `onelook train --data data`"),
    ("tune data=b.yaml iterations=30", 2, "type `onelook evolve --data b.yaml --evolve 30`"),
    ("detect --weights a.pt --image x.jpg", 2, "type `onelook detect --weights a.pt --source x.jpg`"),
    ("detect --weights a.pt --video x.mp4", 2, "type `onelook detect --weights a.pt --source x.mp4`"),
    ("detect --weights a.pt --source x --threshold 0.5", 2, "--source x --conf-thres 0.5`"),
    ("train -d b.yaml -e 3 -b 16", 2, "type `onelook train --data b.yaml --epochs 3 --batch-size 16`"),
    ("detect -w a.pt -s x.jpg -o out", 2, "type `onelook detect --weights a.pt --source x.jpg --project out`"),
    ("train -x", 2, "unknown option `-x`"),
    # options that have no counterpart
    ("train --data b.yaml --names cat dog", 2, "`names` in the dataset YAML gives the classes"),
    ("train --data b.yaml --nc 3", 2, "`names` in the dataset YAML gives the classes"),
    ("train --data b.yaml --classes 0 2", 2, "a training learns all classes"),
    ("train --train-path a --val-path b", 2, "name the folders of images in a dataset YAML"),
    ("train --data b.yaml --backbone resnet50", 2, "`onelook models` lists them"),
    ("train --data b.yaml --deterministic", 2, "the same `--seed` are equal anyway"),
    ("train --data b.yaml --cuda", 2, "write `--device 0`"),
    ("train --data b.yaml --cpu", 2, "write `--device cpu`"),
    ("train --data b.yaml --fp32", 2, "`--amp off`"),
    ("train --data b.yaml --auto-augment x", 2, "`hsv_h` to `copy_paste`"),
    ("train --data b.yaml --profile", 2, "`speed.csv`"),
    ("evolve --data b.yaml --iterations 30", 2, "write `--evolve 30`"),
    ("detect --weights a.pt --source x --track", 2, "write `--tracker bytetrack`"),
    ("detect --weights a.pt --webcam", 2, "write `--source 0`"),
    ("detect --weights a.pt --source x --save-img", 2, "unless `--nosave` is set"),
    ("train --data b.yaml --adam", 2, "write `--optimizer Adam`"),
    ("train --data b.yaml --linear-lr", 2, "drop it: the learning rate falls linearly"),
    ("train --data b.yaml --dropout 0.1", 2, "drop it: no model here has dropout"),
    ("train --data b.yaml --half", 2, "write `--amp fp16`"),
    ("train --data b.yaml --fp16", 2, "write `--half`, or `--amp fp16` in training"),
    ("train --data b.yaml --fraction 0.5", 2, "shorter list of images"),
    ("train --data b.yaml --val", 2, "unless `--noval` is set"),
    ("train --data b.yaml --plots", 2, "unless `--noplots` is set"),
    ("train --data b.yaml --multi_gpu", 2, "write `--device 0,1`"),
    ("train --data b.yaml --gpus 2", 2, "name the GPUs: `--device 0,1`"),
    ("train --data b.yaml --ddp", 2, "write `--device 0,1`"),
    ("train --data b.yaml --wandb", 2, "write `--track wandb`"),
    ("train --data b.yaml --tensorboard", 2, "write `--track tensorboard`"),
    ("train --data b.yaml --verbose", 2, "drop it"),
    ("train --continue", 2, "write `--resume`"),
    ("detect --weights a.pt --source x --save", 2, "`--save` is short for `--save-conf` or"),
    ("detect --weights a.pt --source x --stream", 2, "drop it: any source"),
    ("detect --weights a.pt --source x --data coco.yaml", 2, "names are in the weights"),
    ("serve --weights a.pt --listen 8000", 2, "`onelook serve --help` lists the options"),
    # misspelt, short and missing
    ("train --data b.yaml --no-val", 2, "did you mean `--noval`?"),
    ("train --data b.yaml --warmup 3", 2, "`--warmup` is short for `--warmup-bias-lr` or `--warmup-epochs`"),
    ("check", 2, "the following arguments are required: DATA"),
    # without an option
    ("train b.yaml", 2, "type `onelook train --data b.yaml`"),
    ("detect best.pt bus.jpg", 2, "type `onelook detect --weights best.pt --source bus.jpg`"),
    ("export a.pt --format onnx", 2, "type `onelook export --weights a.pt --format onnx`"),
    # commands
    ("predict model=a.pt source=x conf=0.2", 2, "type `onelook detect --weights a.pt --source x --conf-thres 0.2`"),
    ("mode=train data=x.yaml", 2, "type `onelook train --data x.yaml`"),
    ("task=detect mode=train data=x.yaml", 2, "type `onelook train --data x.yaml`"),
    ("yolo train data=x.yaml model=yolov5n.pt", 2, "type `onelook train --data x.yaml --weights yolov5n.pt`"),
    ("resume runs/train/exp", 2, "type `onelook train --resume runs/train/exp`"),
    ("checks", 2, "type `onelook env`"),
    ("version", 2, "type `onelook --version`"),
    ("segment train data=x", 2, "a task that Onelook does not have"),
    ("task=classify predict", 2, "a task that Onelook does not have"),
    ("trian", 2, "did you mean `train`?"),
    # values
    ("train --data b.yaml --close-mosaic 10", 64, "0.1 for the last 10 of 100"),
    ("train --data b.yaml --amp True", 64, "`auto` here"),
    ("train --data b.yaml --patience none", 64, "0 never stops early"),
    ("train --data b.yaml --freeze backbone", 64, "the number of layers"),
    ("detect --weights a.pt --source x --tracker botsort.yaml", 64, "`bytetrack` is the only tracker"),
    ("export --weights a.pt --include engine", 64, "the nearest format here is `tensorrt`"),
    ("export --weights a.pt --include tflite", 64, "the nearest format here is `litert`"),
    ("export --weights a.pt --include saved_model", 64, "the nearest format here is `litert`"),
    ("export --weights a.pt --include mlmodel", 64, "the nearest format here is `coreml`"),
    ("benchmark --weights a.pt --format engine", 64, "the nearest format here is `tensorrt`"),
    ("train --hyp hyp.scratch-low.yaml", 64, "did you mean `scratch-low`?"),
    ("train --optimizer adam", 64, "should be 'auto', 'SGD', 'Adam' or 'AdamW'"),
    ("models yolov8n", 64, "such as `yolox-nano`"),
    ("download coco128", 64, "known datasets are coco, coco-val"),
    ("train --data coco.yaml", 65, "fetch it with `onelook download coco`"),
    ("train --data hives.yml", 65, "did you mean `hives.yaml`?"),
    ("train --cfg yolov5n", 65, "name the dataset with `--data`"),
    ("train --data a.jpg", 65, "hint: give a YAML file"),
    ("train --data coco128.yaml", 65, "`onelook download` lists these"),
    ("train --data data/coco8.yaml", 65, "`onelook download` lists these"),
    # weights
    ("info yolov5n", 3, "train it from random weights with `--cfg yolov5n`"),
    ("info yolov5s.pt", 3, "`onelook download yolox-s`, then `--weights yolox-s`"),
    (
        "info yolo11n.pt",
        3,
        "nor reads\nhint: take weights under Apache-2.0: `onelook download yolox-nano`",
    ),
    ("info yolov8m", 3, "`onelook download yolox-m`"),
    ("info rtdetr-l.pt", 3, "neither trains nor reads"),
    ("info yolox_s", 3, "train it from random weights with `--cfg yolox-s`"),
    ("info yolox-nan", 3, "`onelook download yolox-nano`, then `--weights yolox-nano`"),
    ("info yolox-tiyn.pth", 3, "`onelook download yolox-tiny`"),
    ("info yolov8-large", 3, "`onelook download yolox-l`"),
    *((line, 64, "`.` is the current folder") for line in ("autosplit ''", "autosplit . --output=", "convert ''")),
    ("info empty", 3, "give a run folder, such as `runs/train/exp`"),
]


@pytest.mark.parametrize(("typed", "code", "cure"), LINES, ids=[line[0] for line in LINES])
def test_wrong_line_gets_its_cure(
    typed: str,
    code: int,
    cure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("hives.yaml").touch()
    Path("a.jpg").write_bytes(b"\xff\xd8\xff\xe0\0")
    assert main(shlex.split(typed)) == code
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert cure in said
    assert said.count("did you mean") == cure.count("did you mean")


def test_folder_of_a_run_stands_for_its_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    best = Path("runs/train/exp/weights/best.safetensors")
    best.parent.mkdir(parents=True)
    best.touch()
    Path("a.jpg").touch()
    for command in ("info", "detect --source a.jpg --weights", "val --weights", "export --weights", "convert"):
        assert main(shlex.split(f"{command} runs/train/exp")) != 0
        out, err = capsys.readouterr()
        assert f"weights `runs/train/exp`: a run; its best are taken, `{best}`" in out
        assert f"`{best}` is damaged" in err or "Onelook already" in err


def test_bare_download_lists_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download"]) == 0
    listed = capsys.readouterr().out
    assert "coco-val" in listed
    assert "yolox-nano" in listed
