"""Keywords of the functions of `onelook.api`, for editors and type checkers; written by scripts/write_keywords.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict


class TrainKeywords(TypedDict, total=False):
    """Settings of `TrainSettings` that are keywords."""

    lr0: float
    lrf: float
    momentum: float
    weight_decay: float
    warmup_epochs: float
    warmup_momentum: float
    warmup_bias_lr: float
    box: float
    cls: float
    cls_pw: float
    cls_softmax: float
    obj: float
    obj_pw: float
    anchor_t: float
    anchors: float
    fl_gamma: float
    auto_balance: bool
    label_smoothing: float
    hsv_h: float
    hsv_s: float
    hsv_v: float
    degrees: float
    translate: float
    scale: float
    shear: float
    perspective: float
    flipud: float
    fliplr: float
    mosaic: float
    mosaic9: float
    mixup: float
    copy_paste: float
    transforms: str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]]
    split: float
    weights: str | Path
    teacher: str | Path
    teach: Literal["predictions", "features", "both"]
    cfg: str | Path
    hyp: str | Path
    epochs: int
    time: float
    batch_size: int
    micro_batch: int
    nominal_batch: int
    imgsz: int
    rect: bool
    quad: bool
    image_weights: bool
    resume: bool | str | Path
    nosave: bool
    noval: bool
    noautoanchor: bool
    no_one: bool
    noplots: bool
    noreport: bool
    serve_report: bool
    cache: Literal["auto", "none", "ram", "disk", "val", "gpu"]
    mosaic_partners: Literal["dataset", "batch"]
    renderer: Literal["cpu", "device"]
    device: str
    nproc: int
    sync_bn: bool
    strict_reduce: bool
    compile: bool
    capture: bool
    hang_timeout: float
    max_restarts: int
    local_rank: int
    close_mosaic: float
    multi_scale: bool
    single_cls: bool
    optimizer: Literal["auto", "SGD", "Adam", "AdamW"]
    workers: int
    project: str | Path
    name: str
    exist_ok: bool
    cos_lr: bool
    patience: int
    freeze: int | Sequence[int]
    save_period: int
    save_interval: float
    seed: int
    amp: Literal["auto", "off", "bf16", "fp16"]
    conf_thres: float
    iou_thres: float
    max_det: int
    strict: bool
    allow_unlabelled: bool
    max_pixels: int
    track: str | Sequence[str]
    entity: str
    upload_dataset: Literal["none", "all", "val"]
    bbox_interval: int
    artifact_alias: str


class ValidateKeywords(TypedDict, total=False):
    """Settings of `ValidateSettings` that are keywords."""

    head: Literal["auto", "many", "one"]
    task: Literal["val", "test", "train", "speed", "study"]
    batch_size: int
    imgsz: int | None
    conf_thres: float
    iou_thres: float
    max_det: int
    device: str
    nproc: int
    workers: int
    single_cls: bool
    augment: bool
    half: bool
    verbose: bool
    save_txt: bool
    save_conf: bool
    save_hybrid: bool
    save_json: bool
    visualize: bool
    noplots: bool
    project: str | Path
    name: str
    exist_ok: bool
    strict: bool
    allow_unlabelled: bool
    max_pixels: int


class ExportKeywords(TypedDict, total=False):
    """Settings of `ExportSettings` that are keywords."""

    head: Literal["auto", "many", "one"]
    format: str | Sequence[str]
    data: str | Path
    imgsz: int | Sequence[int]
    batch_size: int
    dynamic: bool
    half: bool
    int8: bool
    calibration_images: int
    nms: bool
    conf_thres: float
    iou_thres: float
    max_det: int
    agnostic_nms: bool
    layout: Literal["rows", "channels-first", "end-to-end", "yolox"]
    simplify: bool
    opset: int
    workspace: float
    device: str
    max_loss: float
    allow_mismatch: bool
    workers: int
    output: str | Path
    exist_ok: bool


class BenchmarkKeywords(TypedDict, total=False):
    """Settings of `BenchmarkSettings` that are keywords."""

    head: Literal["auto", "many", "one"]
    format: str | Sequence[str]
    data: str | Path
    imgsz: int | Sequence[int]
    batch_size: int
    half: bool
    int8: bool
    rounds: int
    device: str
    workers: int
    project: str | Path
    name: str
    exist_ok: bool


class CheckKeywords(TypedDict, total=False):
    """Settings of `CheckSettings` that are keywords."""

    imgsz: int | None
    strict: bool
    allow_unlabelled: bool
    max_pixels: int
    near: int
    cfg: str | Path
    weights: str | Path
    suspicions: int
    device: str
    output: str | Path
    fix: str | Path
    exist_ok: bool


class SplitKeywords(TypedDict, total=False):
    """Settings of `SplitSettings` that are keywords."""

    fractions: float | Sequence[float]
    folds: int
    stratify: bool
    group: str
    near: int
    seed: int


class DownloadKeywords(TypedDict, total=False):
    """Settings of `DownloadSettings` that are keywords."""

    output: str | Path
    no_hash: bool
    keep: bool


class InfoKeywords(TypedDict, total=False):
    """Settings of `InfoSettings` that are keywords."""

    imgsz: int
    rows: bool


class ServeKeywords(TypedDict, total=False):
    """Settings of `ServeSettings` that are keywords."""

    head: Literal["auto", "many", "one"]
    host: str
    port: int
    allowed_hosts: str | Sequence[str]
    imgsz: int | Sequence[int]
    conf_thres: float
    iou_thres: float
    max_det: int
    classes: str | int | Sequence[str | int]
    agnostic_nms: bool
    device: str
    half: bool
    batch_size: int
    batch_wait: float
    queue_size: int
    max_megabytes: float
    max_pixels: int
    upload_seconds: float
    decode_seconds: float


class EvolveKeywords(TrainKeywords, total=False):
    """Settings of `EvolveSettings` that are keywords."""

    callbacks: str | Path | Sequence[str | Path]
    evolve: int
    evolve_method: Literal["auto", "optuna", "genetic"]
    evolve_population: str | Path
    resume_evolve: bool | str | Path
    evolve_storage: str
    bucket: str


class LoadKeywords(TypedDict, total=False):
    """Settings of `LoadSettings` that are keywords."""

    head: Literal["auto", "many", "one"]
    imgsz: int | Sequence[int]
    conf_thres: float
    iou_thres: float
    max_det: int
    classes: str | int | Sequence[str | int]
    agnostic_nms: bool
    device: str
    half: bool
    augment: bool


class DetectKeywords(LoadKeywords, total=False):
    """Settings of `DetectSettings` that are keywords."""

    batch_size: int
    vid_stride: int
    reconnect: int
    max_pixels: int
    tile: int
    tile_overlap: float
    tracker: Literal["none", "bytetrack"]
    nosave: bool
    line_thickness: int
    hide_labels: bool
    hide_conf: bool
    save_txt: bool
    save_conf: bool
    save_format: int
    save_csv: bool
    save_json: bool
    save_crop: bool
    visualize: bool
    view_img: bool
    update: bool
    project: str | Path
    name: str
    exist_ok: bool
