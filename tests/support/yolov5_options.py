"""The options of YOLOv5's trainer, 6.1 to its last version: how each is typed, and which setting it is here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        spellings: all that YOLOv5 takes.
        setting: its name in Onelook.
        values: words that may follow it, none of them the default; an empty text is the option alone.
        command: whose setting it is: of `onelook train`, or of the search that `onelook evolve` does.
    """

    spellings: tuple[str, ...]
    setting: str
    values: tuple[str, ...] = ("",)
    command: str = "train"


OPTIONS = (
    Option(("--weights",), "weights", ("yolov5s.pt",)),
    Option(("--cfg",), "cfg", ("yolov5s.yaml",)),
    Option(("--data",), "data", ("bees.yaml",)),
    Option(("--hyp",), "hyp", ("scratch-high",)),
    Option(("--epochs",), "epochs", ("300",)),
    Option(("--batch-size",), "batch_size", ("32", "-1")),
    Option(("--imgsz", "--img", "--img-size"), "imgsz", ("1280",)),
    Option(("--rect",), "rect"),
    Option(("--resume",), "resume", ("", "runs/train/exp/weights/last.pt")),
    Option(("--nosave",), "nosave"),
    Option(("--noval",), "noval"),
    Option(("--noautoanchor",), "noautoanchor"),
    Option(("--noplots",), "noplots"),
    Option(("--evolve",), "evolve", ("", "30"), "evolve"),
    Option(("--evolve_population",), "evolve_population", ("hyps",), "evolve"),
    Option(("--resume_evolve",), "resume_evolve", ("runs/evolve/exp",), "evolve"),
    Option(("--bucket",), "bucket", ("gs://bees",), "evolve"),
    Option(("--cache",), "cache", ("", "ram", "disk", "val")),
    Option(("--image-weights",), "image_weights"),
    Option(("--device",), "device", ("cpu", "0", "0,1,2,3", "mps")),
    Option(("--multi-scale",), "multi_scale"),
    Option(("--single-cls",), "single_cls"),
    Option(("--optimizer",), "optimizer", ("SGD", "Adam", "AdamW")),
    Option(("--sync-bn",), "sync_bn"),
    Option(("--workers",), "workers", ("4",)),
    Option(("--project",), "project", ("runs/bees",)),
    Option(("--name",), "name", ("bees", "cfg")),
    Option(("--exist-ok",), "exist_ok"),
    Option(("--quad",), "quad"),
    Option(("--cos-lr",), "cos_lr"),
    Option(("--label-smoothing",), "label_smoothing", ("0.1",)),
    Option(("--patience",), "patience", ("0", "30")),
    Option(("--freeze",), "freeze", ("10", "0 1 2")),
    Option(("--save-period",), "save_period", ("5",)),
    Option(("--seed",), "seed", ("1",)),
    Option(("--local_rank",), "local_rank", ("0",)),
    Option(("--entity",), "entity", ("zoo",)),
    Option(("--upload_dataset",), "upload_dataset", ("", "val")),
    Option(("--bbox_interval",), "bbox_interval", ("1",)),
    Option(("--artifact_alias",), "artifact_alias", ("v1",)),
)
