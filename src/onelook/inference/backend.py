"""What runs a detector: one interface for PyTorch and every exported format. NMS is not part of it.

Letters: B images, H, W pixels, N boxes of an image, K classes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from onelook.errors import ModelError, SettingsError, counted
from onelook.files.bounded import StrPath
from onelook.models.detector import DetectionModel
from onelook.models.fuse import fuse, halved
from onelook.settings.train import MAX_IMGSZ

logger = logging.getLogger(__name__)

DEFAULT_IMGSZ = 640


@dataclass(frozen=True)
class Thresholds:
    """Which boxes NMS leaves; where a program applies it itself, all others are dropped for good.

    Attributes:
        iou_thres: overlap above which the weaker of two boxes of a class is dropped.
        agnostic_nms: NMS across classes instead of within each.
    """

    conf_thres: float
    iou_thres: float
    max_det: int
    agnostic_nms: bool = False


class Backend(Protocol):
    """A detector that runs: images in, decoded boxes and scores out. Threads may share it.

    Attributes:
        names: K class names.
        num_classes: K.
        stride: height and width of images are multiples of this, pixels.
        map_strides: pixels per cell of each output map, in the order of the boxes (map, anchor, row, column); None if
            unknown.
        device: where `predict` takes its images from; its result is there too.
        frame_hw: the only height and width that images may have, pixels; None if any multiple of the stride will do.
        max_batch: largest number of images in one call; None if there is no limit.
        imgsz: side of the images that the model was trained on, pixels; None if that is unknown.
        needs_nms: whether several boxes may come out for one object, of which all but one are to be dropped.
        thresholds: the NMS that is done inside; None if all boxes come out, as they do from a network.
    """

    names: tuple[str, ...]
    num_classes: int
    stride: int
    device: torch.device
    map_strides: tuple[int, ...] | None = None
    frame_hw: tuple[int, int] | None = None
    max_batch: int | None = None
    imgsz: int | None = None
    needs_nms: bool = True
    thresholds: Thresholds | None = None

    def predict(self, images: Tensor) -> Tensor:
        """Decoded predictions, (B, N, 5 + K) float32: cx, cy, w, h in pixels of the images, objectness, class scores.

        Args:
            images: (B, 3, H, W) float32 from 0 to 1, at most `max_batch` of them.
        """


class TorchBackend(Backend):
    """A fused copy of a PyTorch model; of one with two branches, the branch that needs NMS.

    Args:
        model: the model; it is not changed.
        device: where the copy runs; None means where the model is.
        half: 16-bit arithmetic in the network; GPUs only. Boxes are decoded in 32 bits all the same.

    Raises:
        SettingsError: `half` is asked for on a CPU.
    """

    def __init__(self, model: DetectionModel, device: torch.device | None = None, *, half: bool = False) -> None:
        self.names = tuple(model.names)
        self.num_classes = model.num_classes
        self.stride = model.max_stride
        self.map_strides = model.stride_px
        self.device = device or next(model.parameters()).device
        self.imgsz = model.imgsz
        if half and self.device.type == "cpu":
            raise SettingsError("setting `half` needs a GPU, the device is `cpu`", hint="drop `half`")
        self._half = half
        fused = fuse(model)
        fused.keep_branch(fused.branches[0])
        fused.to(self.device)
        self.needs_nms = fused.head.needs_nms
        fused.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._model = halved(fused) if half else fused

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Tensor:
        """Decoded predictions, see `Backend.predict`."""
        return self._model.decode(self._model(images.half() if self._half else images))


def predict_all(backend: Backend, images: Tensor) -> Tensor:
    """Decoded predictions of any number of images, as many at a time as the back end takes; see `Backend.predict`."""
    parts = torch.split(images, backend.max_batch or max(len(images), 1))
    return torch.cat([backend.predict(part) for part in parts]) if len(parts) > 1 else backend.predict(images)


def refuse_frame(frame_hw: tuple[int, int], stride: int) -> None:
    """Raise SettingsError if a side of what would go into a model is above `MAX_IMGSZ` or no multiple of `stride`."""
    sides = dict.fromkeys(frame_hw)
    if max(sides) > MAX_IMGSZ:
        raise SettingsError(
            f"setting `imgsz` is {max(sides)}, more than the limit of {MAX_IMGSZ} pixels",
            hint="for large images with small objects, `onelook detect --tile` predicts in parts",
        )
    if any(side < stride or side % stride for side in sides):
        raise SettingsError(
            f"setting `imgsz` is {' '.join(map(str, sides))}; the model needs multiples of {stride}",
            hint="use " + " ".join(str(max(1, -(-side // stride)) * stride) for side in sides),
        )


def usual_hw(detectors: Sequence[DetectionModel | Backend]) -> tuple[int, int]:
    """Height and width that images are fitted into if nobody asks for others, pixels.

    The only ones that an exported model takes; else the size of training, 640 if it is unknown, rounded up to the
    stride. Of several detectors the largest.
    """
    fixed = [one.frame_hw for one in detectors if not isinstance(one, DetectionModel) and one.frame_hw is not None]
    if fixed:
        return fixed[0]
    stride = math.lcm(*(one.max_stride if isinstance(one, DetectionModel) else one.stride for one in detectors))
    side = -(-max(one.imgsz or DEFAULT_IMGSZ for one in detectors) // stride) * stride
    return side, side


def iou_threshold(asked: float, *, needs_nms: bool) -> float:
    """The overlap above which boxes are dropped: what is asked for, or 1, which drops none, where NMS is not needed."""
    return asked if needs_nms else 1.0


def check_thresholds(backend: Backend, asked: Thresholds) -> None:
    """Refuse thresholds that a back end with NMS inside cannot meet.

    Raises:
        SettingsError: it has dropped boxes that are asked for.
    """
    done = backend.thresholds
    if done is None:
        return
    same_iou = asked.iou_thres == done.iou_thres or not backend.needs_nms
    same_contest = asked.agnostic_nms == done.agnostic_nms or not backend.needs_nms or backend.num_classes == 1
    problems = [
        text
        for text, is_met in (
            (
                f"`conf_thres` is {asked.conf_thres}, the export has {done.conf_thres}",
                asked.conf_thres >= done.conf_thres,
            ),
            (f"`iou_thres` is {asked.iou_thres}, the export has {done.iou_thres}", same_iou),
            (f"`max_det` is {asked.max_det}, the export has {done.max_det}", asked.max_det <= done.max_det),
            (f"`agnostic_nms` is {asked.agnostic_nms}, the export has {done.agnostic_nms}", same_contest),
        )
        if not is_met
    ]
    if problems:
        raise SettingsError(
            f"the export applies NMS itself: {'; '.join(problems)}",
            hint=f"use `--conf-thres {done.conf_thres} --iou-thres {done.iou_thres} --max-det {done.max_det}`, "
            "or export without `--nms`",
        )


def refuse_other_names(
    names: Sequence[str], others: Sequence[str], *, weights: StrPath, other: StrPath, hint: str | None = None
) -> None:
    """Refuse weights whose class ids mean something else elsewhere; warn of classes that only have another name.

    Args:
        others: the classes of `other`, a dataset or other weights.
        hint: what to do if there are fewer or more; by default the classes of the weights are named.

    Raises:
        ModelError: the number of classes differs, or a class has another id.
    """
    if len(names) != len(others):
        raise ModelError(
            f"weights `{weights}` have {counted(len(names), 'class')}, `{other}` has {len(others)}",
            hint=hint or f"the weights know: {', '.join(names[:20])}",
        )
    pairs = enumerate(zip(names, others, strict=True))
    different = [(number, ours, theirs) for number, (ours, theirs) in pairs if ours != theirs]
    for number, ours, theirs in different:
        if ours in others or theirs in names:
            raise ModelError(
                f"class {number} is `{ours}` in weights `{weights}` and `{theirs}` in `{other}`",
                hint="the classes must be in the same order",
            )
    if different:
        number, ours, theirs = different[0]
        logger.warning(
            "%d of %d classes have different names in weights `%s` and in `%s`, and are taken to be the same: "
            "class %d is `%s` and `%s`", len(different), len(names), weights, other, number, ours, theirs,
        )  # fmt: skip
