"""What users of other trainers call our settings: a guess by spelling would lead them astray."""

from __future__ import annotations

from collections.abc import Collection

RENAMED = {
    "batch": "batch_size", "batchsize": "batch_size", "bs": "batch_size", "model": "weights", "weight": "weights",
    "checkpoint": "weights", "ckpt": "weights", "pretrained": "weights", "conf": "conf_thres",
    "confidence": "conf_thres", "conf_threshold": "conf_thres", "confidence_threshold": "conf_thres",
    "score_thr": "conf_thres", "score_threshold": "conf_thres", "iou": "iou_thres", "nms": "iou_thres",
    "iou_threshold": "iou_thres", "nms_thresh": "iou_thres", "nms_threshold": "iou_thres", "nms_thres": "iou_thres",
    "include": "format", "formats": "format", "img": "imgsz", "imgs": "imgsz", "img_size": "imgsz", "img_sz": "imgsz",
    "size": "imgsz", "image_size": "imgsz", "resolution": "imgsz", "input_size": "imgsz", "lr": "lr0",
    "learning_rate": "lr0", "gpu": "device", "devices": "device", "num_workers": "workers",
    "config": "cfg", "yaml": "data", "dataset": "data", "input": "source", "images": "source", "path": "source",
    "save_dir": "project", "output": "project", "output_dir": "project", "out_dir": "project",
    "out": "project", "num_epochs": "epochs", "epoch": "epochs", "max_epochs": "epochs",
    "label_smooth": "label_smoothing", "random_seed": "seed", "single_class": "single_cls", "vid_step": "vid_stride",
    "max_dets": "max_det", "agnostic": "agnostic_nms", "exist": "exist_ok", "overwrite": "exist_ok",
    "show": "view_img", "save_frames": "save_format", "line_width": "line_thickness", "show_labels": "hide_labels",
    "show_conf": "hide_conf", "optimiser": "optimizer", "box_gain": "box", "cls_gain": "cls", "tracker": "track",
    "loggers": "track", "split": "task", "resume_from": "resume", "freeze_layers": "freeze", "generations": "evolve",
    "population": "evolve_population", "bind": "host", "early_stopping": "patience", "n_epochs": "epochs",
    "load": "weights", "arch": "cfg", "data_dir": "data", "dataset_dir": "data", "image": "source", "video": "source",
    "image_path": "source", "img_path": "source", "video_path": "source", "score": "conf_thres", "thresh": "conf_thres",
    "threshold": "conf_thres", "d": "data", "e": "epochs", "b": "batch_size", "w": "weights", "s": "source",
    "o": "project",
}  # fmt: skip
"""Their name -> our setting, in every command that has it."""

EXPLAINED = {
    "adam": "write `--optimizer Adam`",
    "linear_lr": "drop it: the learning rate falls linearly unless `--cos-lr` is set",
    "ddp": "for several GPUs write `--device 0,1`",
    "gpus": "name the GPUs: `--device 0,1`",
    "multi_gpu": "for several GPUs write `--device 0,1`",
    "wandb": "write `--track wandb`",
    "tensorboard": "write `--track tensorboard`",
    "mlflow": "write `--track mlflow`",
    "fp16": "write `--half`, or `--amp fp16` in training",
    "half": "in training, write `--amp fp16`",
    "val": "drop it: a training validates after every epoch unless `--noval` is set",
    "plots": "drop it: plots are written unless `--noplots` is set",
    "dropout": "drop it: no model here has dropout",
    "fraction": "drop it; for a part of a dataset give a shorter list of images in the dataset YAML",
    "stream": "drop it: any source is read image by image",
    "verbose": "drop it",
    "continue": "write `--resume`",
    "cuda": "write `--device 0`",
    "cpu": "write `--device cpu`",
    "fp32": "drop it, or write `--amp off` in training",
    "deterministic": "drop it: runs with the same `--seed` are equal anyway",
    "profile": "drop it: `speed.csv` in the run folder says what takes how long",
    "backbone": "choose a whole model by `--cfg` or `--weights`; `onelook models` lists them",
    "nc": "drop it: `names` in the dataset YAML gives the classes",
    "num_classes": "drop it: `names` in the dataset YAML gives the classes",
    "names": "drop it: `names` in the dataset YAML gives the classes",
    "classes": "drop it: a training learns all classes of the dataset YAML",
    "train_path": "name the folders of images in a dataset YAML: `--data bees.yaml`",
    "val_path": "name the folders of images in a dataset YAML: `--data bees.yaml`",
    "auto_augment": "drop it; the hyperparameters `hsv_h` to `copy_paste` augment, see `onelook train --help-all`",
    "iterations": "in a search write `--evolve 30`, in training `--epochs`",
    "track": "write `--tracker bytetrack`",
    "webcam": "write `--source 0`",
    "save_img": "drop it: images are written unless `--nosave` is set",
    "dnn": "drop it: ONNX files are run by ONNX Runtime, not by OpenCV",
    "data": "drop it: this command needs no dataset, or takes it without an option; names are in the weights",
}
"""Their name -> what to do about it, where no option of ours means the same."""

VALUES = {
    ("amp", "true"): "auto", ("amp", "false"): "off", ("cache", "true"): "ram", ("cache", "false"): "none",
}  # fmt: skip
"""Our setting, and a value that others give it -> what means the same here."""

MEANT = {
    "amp": "True is called `auto` here, False `off`",
    "cache": "True is called `ram` here, False `none`",
    "close_mosaic": "it is a share of the epochs: 0.1 for the last 10 of 100",
    "freeze": "give the number of layers that stay as they are, or their numbers",
    "patience": "0 never stops early",
    "tracker": "`bytetrack` is the only tracker, and has no file",
}
"""Our setting -> what to know where others mean something else by it."""


def plain_name(word: str) -> str:
    """An option as it was typed, as the name of a setting: `--Batch-Size` is `batch_size`."""
    return word.lstrip("-").replace("-", "_").lower()


def our_name(theirs: str, known: Collection[str]) -> str | None:
    """What a setting of others is called here; None if that is not one of `known`.

    >>> our_name("batch", ["batch_size"]), our_name("model", ["cfg"])
    ('batch_size', None)
    """
    ours = RENAMED.get(plain_name(theirs))
    return ours if ours in known else None
