"""Every option of a training run. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic.config import JsonDict

from onelook.errors import SettingsError
from onelook.settings.hyperparameters import Hyperparameters

IMGSZ_ALIASES: JsonDict = {"aliases": ["--img", "--img-size"]}
TRACKER_NAMES = ("tensorboard", "mlflow")


class TrainSettings(Hyperparameters):
    """All settings of `onelook train`; hyper-parameters are settings like any other."""

    data: Path = Field(Path("data.yaml"))
    """Data-set YAML: where the images are and what the classes are called."""
    weights: str = Field("")
    """Checkpoint (.safetensors) to start from; empty trains from scratch."""
    cfg: str = Field("")
    """Model: a shipped name (`onelook models`) or a YAML file; empty takes that of the weights, or yolov5s."""
    hyp: str = Field("")
    """Hyper-parameters: a preset (scratch-low, -med, -high, objects365, voc, no-augmentation) or a YAML file."""
    epochs: int = Field(100, ge=1)
    """Passes over the training images; also the length of the learning-rate schedule."""
    batch_size: int = Field(16, ge=1)
    """Images per batch; if you do not set it, runs of under 1000 updates take 8."""
    nominal_batch: int = Field(0, ge=0)
    """Images per weight update, reached by accumulating batches; 0 means 64, fewer where the run is short."""
    imgsz: int = Field(640, ge=32, json_schema_extra=IMGSZ_ALIASES)
    """Side of the square that images are fitted into, pixels; a multiple of the model's largest stride."""
    rect: bool = Field(False)
    """Batches of images of similar shape with little padding; switches mosaic and shuffling off."""
    resume: bool | str = Field(False)
    """Go on with an interrupted run: the newest one below --project, or the run folder or checkpoint given."""
    nosave: bool = Field(False)
    """Write a checkpoint only at the end (and when the run is told to stop)."""
    noval: bool = Field(False)
    """Validate only after the last epoch."""
    noautoanchor: bool = Field(False)
    """Do not check the anchors against the labels."""
    noplots: bool = Field(False)
    """Write no pictures."""
    cache: Literal["none", "ram", "disk", "val"] = Field("none", json_schema_extra={"bare": "ram"})
    """Keep decoded images in memory (ram; val: only the validation set) or as raw arrays in the cache folder (disk)."""
    device: str = Field("")
    """cpu, a GPU number, or mps; empty takes the first GPU if there is one."""
    close_mosaic: float = Field(0.0, ge=0, le=1)
    """Share of the epochs, at the end of the run, without mosaic and mix-up; 0 keeps them to the end."""
    multi_scale: bool = Field(False)
    """Vary the image size by half either way, batch by batch."""
    single_cls: bool = Field(False)
    """Treat all labels as one class."""
    optimizer: Literal["auto", "SGD", "Adam", "AdamW"] = Field("auto")
    """Optimiser; auto is SGD, or AdamW with rates of its own in runs of under 2000 updates if you set no rates."""
    workers: int = Field(8, ge=0)
    """Most processes that load images; no more are started than there are processors to spare."""
    project: Path = Field(Path("runs/train"))
    """Folder of the run folders."""
    name: str = Field("exp", min_length=1)
    """Name of the run folder; a number is added if it is taken. `cfg` uses the name of the model."""
    exist_ok: bool = Field(False)
    """Write into the run folder even if it is there already."""
    cos_lr: bool = Field(False)
    """Cosine learning-rate schedule in place of the linear one."""
    patience: int = Field(100, ge=0)
    """Stop after this many epochs without a better fitness; 0 never stops early."""
    freeze: list[int] = Field([0])
    """Layers that do not learn: one number N freezes layers 0 to N-1, several numbers freeze just those."""
    save_period: int = Field(-1)
    """Keep a checkpoint of its own every so many epochs; below 1 keeps none."""
    save_interval: float = Field(60.0, ge=0)
    """Least seconds between two checkpoints within an epoch; saving is kept below 2 % of the time of the run."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Decides everything random: same seed, same data, same settings, same weights."""
    amp: Literal["auto", "off", "bf16", "fp16"] = Field("auto")
    """Mixed precision; auto uses bf16 on GPUs that have it, fp16 on other GPUs, nothing on the CPU."""
    conf_thres: float = Field(0.001, ge=0, le=1)
    """Least score of a detection in validation."""
    iou_thres: float = Field(0.6, ge=0, le=1)
    """Overlap above which the weaker of two detections is dropped in validation."""
    max_det: int = Field(300, ge=1)
    """Most detections per image in validation."""
    callbacks: list[Path] = Field([], json_schema_extra={"typed_only": True})
    """Python files whose `Callback` classes watch the run; only as typed, never from a file of settings."""
    strict: bool = Field(False)
    """Stop if any label row or image cannot be used, in place of going on without it."""
    allow_unlabelled: bool = Field(False)
    """Accept that most images have no label file: they are all background."""
    track: list[str] = Field([])
    """Trackers that follow the run: tensorboard, mlflow; several are joined by commas, `none` is none."""

    @field_validator("track", mode="before")
    @classmethod
    def _know_the_trackers(cls, value: Any) -> Any:
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            return value
        names = dict.fromkeys(name for word in words for name in word.replace(",", " ").split() if name != "none")
        for name in names:
            if name not in TRACKER_NAMES:
                near = difflib.get_close_matches(name.lower(), TRACKER_NAMES, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(TRACKER_NAMES)}"
                raise SettingsError(f"setting `track` names `{name}`, which is no tracker", hint=hint)
        return list(names)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> TrainSettings:
        if self.rect and self.multi_scale:
            raise SettingsError("settings `rect` and `multi_scale` cannot be used together", hint="drop one of them")
        if self.nosave and self.save_period > 0:
            raise SettingsError(f"settings `nosave` and `save_period: {self.save_period}` contradict each other")
        if self.imgsz % 32:
            raise SettingsError(
                f"setting `imgsz` is {self.imgsz}, which is not a multiple of 32, the least stride of any model",
                hint=f"use {-(-self.imgsz // 32) * 32}",
            )
        if any(layer < 0 for layer in self.freeze) or not self.freeze:
            raise SettingsError(f"setting `freeze` is {self.freeze}; layers count from 0")
        if self.noautoanchor and round(self.anchors) > 0:
            raise SettingsError(
                f"`anchors: {self.anchors}` needs new anchors from the data, which `noautoanchor` forbids",
                hint="drop `noautoanchor`, or set `anchors` to 0 to keep those of the model",
            )
        return self
