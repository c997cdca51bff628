"""Every option of a training run. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.config import JsonDict

from onelook.errors import SettingsError
from onelook.files.image_headers import MAX_PIXELS, MOST_PIXELS
from onelook.settings.hyperparameters import Hyperparameters
from onelook.settings.nearest_name import nearest_name
from onelook.settings.series import EXTENDS, FREE, KEPT, OUTSIDE, PLACE, resumed

MAX_IMGSZ = 1 << 14
"""Of images that go into a model, pixels a side: 3 GB each in float32; more is probably a typing error."""
IS_PART = "is_part"
"""In the context of a validation: these are not all settings, so what they need of each other is not checked."""
IMGSZ_ALIASES: JsonDict = {"aliases": ["--img", "--img-size"]}
Teach = Literal["predictions", "features", "both"]
TRACKER_NAMES = ("tensorboard", "mlflow", "wandb", "clearml", "comet")


class TrainSettings(Hyperparameters):
    """All settings of `onelook train`; hyperparameters are settings like any other."""

    model_config = ConfigDict(title="settings")

    data: Path = Field(Path("data.yaml"), json_schema_extra=resumed(FREE))
    """Dataset: a YAML with image folders and class names, or a folder or file in a known layout."""
    split: float = Field(0.0, ge=0, lt=1)
    """Share of the images for training, the rest for validation, of a dataset without splits, such as the export of an
    annotation tool. The run folder keeps the split. 0 uses the splits of the dataset."""
    weights: str = Field("")
    """Where to start: a checkpoint (.safetensors, .pt of YOLOv5), a run folder, or yolox-nano to yolox-x; empty trains
    from scratch."""
    teacher: str = Field("", json_schema_extra=resumed(FREE))
    """Weights of a larger detector that knows the dataset, to learn from as well; empty for none."""
    teach: Teach = Field("predictions")
    """What to learn from the teacher: its predictions, its features (which models of all families have), or both."""
    cfg: str = Field("")
    """Model: a shipped name (`onelook models`) or a YAML file; empty takes that of the weights, or yolov5s."""
    hyp: str = Field("", json_schema_extra=resumed(KEPT, of_trial=True))
    """Hyperparameters: a preset (scratch-low, -med, -high, objects365, voc, no-augmentation), a YAML file, or the
    settings.yaml of a run."""
    epochs: int = Field(100, ge=1, json_schema_extra=resumed(EXTENDS))
    """Passes over the training images; also the length of the learning-rate schedule."""
    time: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Hours that the run may take, instead of `epochs`: it trains for as many epochs as fit; 0 for no limit."""
    batch_size: int = Field(16, ge=-1)
    """Images per batch; if not set, runs of under 1000 updates take 8. -1 finds the largest that fits in memory."""
    micro_batch: int = Field(0, ge=0, json_schema_extra=resumed(FREE))
    """Maximum number of images that a process sends through the network at once; 0 for its share of the batch."""
    nominal_batch: int = Field(0, ge=0)
    """Images per weight update, reached by accumulating batches; 0 means 64, fewer where the run is short."""
    imgsz: int = Field(640, ge=32, le=MAX_IMGSZ, json_schema_extra=IMGSZ_ALIASES)
    """Side of the square that images are fitted into, pixels; a multiple of the model's largest stride."""
    rect: bool = Field(False)
    """Batch images of similar shape, with little padding, in random order; switches mosaic off."""
    quad: bool = Field(False)
    """Images of twice the side, a quarter as many per batch: half of them one enlarged image, half a grid of four."""
    image_weights: bool = Field(False)
    """Draw images with rare or badly detected classes more often; weights are renewed for each epoch."""
    resume: bool | str = Field(False, json_schema_extra=resumed(PLACE))
    """Resume an interrupted run: the newest one below --project, or the run folder or checkpoint given."""
    nosave: bool = Field(False, json_schema_extra=resumed(FREE, of_trial=True))
    """Write a checkpoint only at the end (and when the run is stopped)."""
    noval: bool = Field(False, json_schema_extra=resumed(KEPT, of_trial=True))
    """Validate only after the last epoch."""
    noautoanchor: bool = Field(False)
    """Do not check the anchors against the labels."""
    no_one: bool = Field(False)
    """Do not train the branch of the head that needs no NMS; heads with anchors do not have it."""
    noplots: bool = Field(False, json_schema_extra=resumed(FREE, of_trial=True))
    """Write no images."""
    noreport: bool = Field(False, json_schema_extra=resumed(FREE, of_trial=True))
    """Write no report at the end; `onelook report` writes one later."""
    serve_report: bool = Field(False, json_schema_extra=resumed(OUTSIDE, of_trial=True))
    """Serve a live report during training, to this machine only, at port 8008 or a free one."""
    cache: Literal["auto", "none", "ram", "disk", "val", "gpu"] = Field(
        "auto", json_schema_extra=resumed(FREE, bare="ram")
    )
    """Keep decoded images in memory (ram; val: only the validation set; auto: each set that takes at most an eighth of
    the free memory), as raw arrays in the cache folder (disk), or the training images on the device that renders them
    (gpu)."""
    mosaic_partners: Literal["dataset", "batch"] = Field("dataset")
    """Where the other images of a mosaic come from: the dataset, or the same batch, whose images are decoded once each;
    with fewer than 8 images per batch, the dataset."""
    renderer: Literal["cpu", "device"] = Field("cpu")
    """Where training images are rendered: in the loader processes (cpu), or on the training device (device)."""
    device: str = Field("", json_schema_extra=resumed(FREE))
    """cpu, a GPU number, several as in 0,1,2,3 (one process each), or mps; empty takes the first GPU if any."""
    nproc: int = Field(0, ge=0, json_schema_extra=resumed(FREE))
    """Processes that train together on this machine; 0 for one per device."""
    sync_bn: bool = Field(False)
    """Compute batch-norm statistics over the batches of all processes."""
    strict_reduce: bool = Field(False)
    """Add gradients in an order that does not depend on the number of processes: slower, but the
    same bits for any number."""
    compile: bool = Field(False)
    """Compile the network with `torch.compile`, for batches of unchanged image size and for validation. That takes
    minutes, and on the CPU needs a C++ compiler; results differ from those without it in the last digits."""
    capture: bool = Field(False)
    """Record network and loss as CUDA graphs, for batches of unchanged image size, so that a GPU does not wait for
    Python. For NVIDIA GPUs only, and not yet measured on one."""
    hang_timeout: float = Field(60.0, gt=0, json_schema_extra=resumed(FREE))
    """Seconds without progress after which a process counts as hung, is reported and killed, and the run restarts."""
    max_restarts: int = Field(3, ge=0, json_schema_extra=resumed(FREE))
    """Maximum number of restarts in a row without progress, from the newest checkpoint, after a process died."""
    local_rank: int = Field(-1, ge=-1, json_schema_extra=resumed(PLACE))
    """Given by old launchers to say which process this is; checked against LOCAL_RANK, -1 for none."""
    close_mosaic: float = Field(0.0, ge=0, le=1)
    """Share of the epochs, at the end of the run, without mosaic and mix-up, at least one; 0 keeps them to the end.
    Models without anchors take 0.15 if it is not set."""
    multi_scale: bool = Field(False)
    """Vary the image size by half either way, batch by batch."""
    single_cls: bool = Field(False)
    """Treat all labels as one class."""
    optimizer: Literal["auto", "SGD", "Adam", "AdamW"] = Field("auto")
    """Optimiser; auto is SGD, or AdamW with rates of its own in runs of under 2000 updates if you set no rates."""
    workers: int = Field(8, ge=0, json_schema_extra=resumed(FREE))
    """Maximum number of processes that load images; no more are started than there are processors to spare."""
    project: Path = Field(Path("runs/train"), json_schema_extra=resumed(PLACE))
    """Folder of the run folders."""
    name: str = Field("exp", min_length=1, json_schema_extra=resumed(PLACE))
    """Name of the run folder; a number is added if it is taken. `cfg` uses the name of the model."""
    exist_ok: bool = Field(False, json_schema_extra=resumed(PLACE))
    """Write into the run folder even if it already exists."""
    cos_lr: bool = Field(False)
    """Cosine learning-rate schedule instead of the linear one."""
    patience: int = Field(100, ge=0, json_schema_extra=resumed(EXTENDS))
    """Stop after this many epochs without a better fitness; 0 never stops early."""
    freeze: list[int] = Field([0])
    """Layers that do not learn: one number N freezes layers 0 to N-1, several numbers freeze just those."""
    save_period: int = Field(-1, json_schema_extra=resumed(FREE, of_trial=True))
    """Keep a numbered checkpoint every N epochs; below 1 keeps none."""
    save_interval: float = Field(60.0, ge=0, json_schema_extra=resumed(FREE, of_trial=True))
    """Minimum seconds between two checkpoints within an epoch; saving is kept below 2 % of the time of the run."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Random seed: the same seed, data and settings give the same weights."""
    amp: Literal["auto", "off", "bf16", "fp16"] = Field("auto")
    """Mixed precision; auto uses bf16 on GPUs that have it, fp16 on other GPUs, nothing on the CPU."""
    conf_thres: float = Field(0.001, ge=0, le=1)
    """Minimum confidence of a detection in validation."""
    iou_thres: float = Field(0.6, ge=0, le=1)
    """IoU above which the weaker of two detections is dropped in validation."""
    max_det: int = Field(300, ge=1)
    """Maximum number of detections per image in validation."""
    callbacks: list[Path] = Field([], json_schema_extra=resumed(OUTSIDE))
    """Python files whose `Callback` classes watch the run; never read from a settings file."""
    strict: bool = Field(False)
    """Stop if any label row or image cannot be used, instead of continuing without it."""
    allow_unlabelled: bool = Field(False)
    """Accept that most images have no label file: they are all background."""
    max_pixels: int = Field(MAX_PIXELS, ge=100, le=MOST_PIXELS)
    """Maximum number of pixels of an image; larger ones are not used. A decoded image takes 3 bytes a pixel."""
    track: list[str] = Field([], json_schema_extra=resumed(OUTSIDE, of_trial=True))
    """Experiment trackers: tensorboard, mlflow, wandb, clearml, comet; several with commas; `none` for none."""
    entity: str = Field("", json_schema_extra=resumed(OUTSIDE, of_trial=True))
    """Owner of the run: W&B entity or Comet workspace; empty uses the default of the account."""
    upload_dataset: Literal["none", "all", "val"] = Field(
        "none", json_schema_extra=resumed(OUTSIDE, of_trial=True, bare="all")
    )
    """Keep the images and labels of all splits, or of the validation split only (val), as an artifact in W&B."""
    bbox_interval: int = Field(-1, ge=-1, json_schema_extra=resumed(FREE))
    """Epochs between images with boxes in W&B, ClearML and Comet; -1 for ten times per run, 0 for never."""
    artifact_alias: str = Field(
        "latest", pattern=r"^[A-Za-z0-9_.-]+$", json_schema_extra=resumed(OUTSIDE, of_trial=True)
    )
    """Alias of the dataset version that `upload_dataset` stores."""

    @field_validator("track", mode="before")
    @classmethod
    def _know_the_trackers(cls, value: Any) -> Any:
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            return value
        names = dict.fromkeys(name for word in words for name in word.replace(",", " ").split() if name != "none")
        for name in names:
            if name not in TRACKER_NAMES:
                hint = nearest_name(name, TRACKER_NAMES)
                raise SettingsError(f"setting `track` names `{name}`, which is not a tracker", hint=hint)
        return list(names)

    @model_validator(mode="after")
    def _refuse_contradictions(self, info: ValidationInfo) -> TrainSettings:
        if (info.context or {}).get(IS_PART):
            return self
        if self.batch_size == 0:
            raise SettingsError("setting `batch_size` is 0", hint="use 1 or more; -1 finds what the memory allows")
        if self.quad and self.batch_size % 4 and self.batch_size > 0:
            raise SettingsError(
                f"`quad` needs a `batch_size` that is a multiple of 4, not {self.batch_size}",
                hint=f"use {-(-self.batch_size // 4) * 4}",
            )
        if self.rect and self.image_weights:
            raise SettingsError(
                "settings `rect` and `image_weights` cannot be used together: the one fixes which images make a batch, "
                "the other draws them",
                hint="drop one of them",
            )
        if self.rect and self.multi_scale:
            raise SettingsError("settings `rect` and `multi_scale` cannot be used together", hint="drop one of them")
        if self.cache == "gpu" and self.renderer != "device":
            raise SettingsError("`cache: gpu` needs `renderer: device`", hint="add `--renderer device`")
        if self.cache == "gpu" and (self.copy_paste or self.transforms or self.quad):
            raise SettingsError(
                "`cache: gpu` cannot be used with `copy_paste`, `transforms` or `quad`, which are done by the loader "
                "processes",
                hint="use `--cache ram`",
            )
        if self.cache == "gpu" and self.batch_size == -1:
            raise SettingsError(
                "`batch_size: -1` leaves no memory for `cache: gpu`",
                hint="use `--cache ram`, or a smaller batch than -1 finds",
            )
        if self.teach != "predictions" and not self.teacher:
            raise SettingsError(f"`teach: {self.teach}` needs a teacher", hint="add `--teacher WEIGHTS`")
        if self.compile and self.capture:
            raise SettingsError("settings `compile` and `capture` cannot be used together", hint="drop one of them")
        if self.sync_bn and (self.compile or self.capture):
            raise SettingsError(
                "`sync_bn` cannot be used with `compile` or `capture`: its processes meet in the middle of the network",
                hint="drop one of them",
            )
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

    @property
    def mosaic_epochs(self) -> int:
        """Epochs, from the first, with mosaic and mix-up."""
        kept = math.ceil(self.epochs * (1 - self.close_mosaic))
        return min(kept, self.epochs - 1) if self.close_mosaic > 0 and self.epochs > 1 else kept


def training_size(stored: Any) -> int | None:
    """The `imgsz` among the settings that a file of weights, ours or YOLOv5's, has stored; None if it is no size."""
    imgsz = stored.get("imgsz") if isinstance(stored, dict) else None
    return imgsz if type(imgsz) is int and 0 < imgsz <= MAX_IMGSZ else None
