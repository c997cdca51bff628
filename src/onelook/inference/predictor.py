"""From images to detections: fit, run the model, decode, apply NMS, and scale back.

Letters: B images of one frame size, H, W pixels.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from onelook.data.augment.resize import averaged_hw, put_into_frame, shrunk
from onelook.errors import SettingsError
from onelook.files.images import Image
from onelook.geometry.letterbox import Letterbox, letterbox
from onelook.geometry.nms import non_max_suppression
from onelook.inference.backend import (
    DEFAULT_IMGSZ,
    Backend,
    Thresholds,
    check_thresholds,
    iou_threshold,
    predict_all,
    refuse_frame,
    usual_hw,
)
from onelook.inference.byte_track import LOW_CONFIDENCE
from onelook.inference.ensemble import assembled
from onelook.inference.evaluator import prepare_images
from onelook.inference.image_inputs import check_image
from onelook.inference.pass_results import to_original
from onelook.models.detector import DetectionModel
from onelook.settings.classes import class_ids_of
from onelook.settings.detect import DetectSettings, LoadSettings
from onelook.settings.serve import ServeSettings
from onelook.structures.batch import ImageInfo
from onelook.structures.detections import Detections


@dataclass(frozen=True)
class PredictionSettings(Thresholds):
    """How images are prepared, and what counts as a detection.

    Attributes:
        imgsz: one side, or height and width, that images are fitted into, pixels; multiples of the model's stride.
            None takes what suits the model, see `usual_hw`; a predictor's own settings have that.
        classes: only these classes, by number or name; None means all.
        half: 16-bit arithmetic in the network; GPUs only. Boxes are decoded in 32 bits all the same.
        augment: test-time augmentation: three sizes, one mirrored; slower, better on small objects.
    """

    conf_thres: float = 0.25
    iou_thres: float = 0.45
    max_det: int = 1000
    imgsz: int | tuple[int, int] | None = None
    classes: tuple[int | str, ...] | None = None
    half: bool = False
    augment: bool = False

    @property
    def frame_hw(self) -> tuple[int, int]:
        """Height and width of the largest frame, pixels."""
        imgsz = DEFAULT_IMGSZ if self.imgsz is None else self.imgsz
        return (imgsz, imgsz) if isinstance(imgsz, int) else imgsz


def prediction_settings(settings: LoadSettings | ServeSettings) -> PredictionSettings:
    """The part of the settings of a command that the predictor needs; a service uses no TTA, and follows nothing."""
    is_followed = isinstance(settings, DetectSettings) and settings.tracker != "none"
    return PredictionSettings(
        imgsz=(settings.imgsz[0], settings.imgsz[-1]) if settings.imgsz else None,
        # weak detections keep the ids of objects alive
        conf_thres=min(settings.conf_thres, LOW_CONFIDENCE) if is_followed else settings.conf_thres,
        iou_thres=settings.iou_thres,
        max_det=settings.max_det,
        classes=tuple(settings.classes) or None,
        agnostic_nms=settings.agnostic_nms,
        half=settings.half,
        augment=isinstance(settings, LoadSettings) and settings.augment,
    )


class Predictor:
    """Finds objects in images, with a fused copy of a model, with an exported one, or with several as an ensemble.

    An image's result does not depend on the images beside it: each gets the smallest frame that holds it (or the
    only one that an exported model takes), and images with the same frame go through the network together.

    Args:
        settings: thresholds and size; `half` is for PyTorch models.
        labels: names of the models for messages.

    Raises:
        ModelError: the models of an ensemble have different classes.
        SettingsError: the size does not suit the model, a class does not exist, `half` is asked for on a CPU, or
            the models cannot be an ensemble or cannot be augmented.
    """

    def __init__(
        self,
        model: DetectionModel | Backend | Sequence[DetectionModel | Backend],
        settings: PredictionSettings | None = None,
        *,
        labels: Sequence[str] = (),
    ) -> None:
        self.settings = settings or PredictionSettings()
        models = model if isinstance(model, Sequence) else [model]
        half, augment = self.settings.half, self.settings.augment
        self._backend = assembled(models, half=half, augment=augment, labels=labels)
        if self.settings.imgsz is None:
            self.settings = replace(self.settings, imgsz=usual_hw([self._backend]))
        self.names: tuple[str, ...] = self._backend.names
        self._class_ids = class_ids_of(self.settings.classes or (), self.names) or None
        self._check()

    def with_settings(self, settings: PredictionSettings) -> Predictor:
        """The same model with other thresholds and sizes; `half` and `augment` stay; SettingsError: see the class."""
        other = copy.copy(self)
        other.settings = replace(settings, half=self.settings.half, augment=self.settings.augment)
        other._class_ids = class_ids_of(settings.classes or (), self.names) or None
        other._check()
        return other

    @torch.inference_mode()
    def predict(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image, in pixels of that image.

        Args:
            images: (H, W, 3) uint8 RGB, of any sizes.

        Raises:
            DataError: an array is no such image.
        """
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        for image in images:
            check_image(image)
        fitted = [self._fit(_size_of(image)) for image in images]
        for position, place in enumerate(fitted):
            alike[place.frame_hw].append(position)
        found = [Detections.empty()] * len(images)
        for positions in alike.values():
            batch, infos = [], []
            for image, place in ((images[position], fitted[position]) for position in positions):
                size_hw = _size_of(image)
                batch.append(put_into_frame(shrunk(image, size_hw, max(place.content_hw)), place))
                infos.append(_way_back(size_hw, place))
            for position, detections in zip(positions, self._run(np.stack(batch), infos), strict=True):
                found[position] = detections
        return found

    def averaged_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width that an image of this size is averaged to before it is fitted into its frame, pixels."""
        return averaged_hw(size_hw, max(self._fit(size_hw).content_hw))

    @torch.inference_mode()
    def predict_averaged(self, image: Image, size_hw: tuple[int, int]) -> Detections:
        """Detections of an image of `size_hw`, in its pixels, from a copy of the size `averaged_hw`."""
        fitted = self._fit(size_hw)
        return self._run(put_into_frame(image, fitted)[None], [_way_back(size_hw, fitted)])[0]

    def _run(self, frames: Image, infos: Sequence[ImageInfo]) -> list[Detections]:
        """Detections of (B, H, W, 3) frames."""
        pixels = prepare_images(torch.from_numpy(frames).permute(0, 3, 1, 2), self._backend.device)
        rows = non_max_suppression(
            predict_all(self._backend, pixels),
            conf_thres=self.settings.conf_thres,
            iou_thres=iou_threshold(self.settings.iou_thres, needs_nms=self._backend.needs_nms),
            max_det=self.settings.max_det,
            multi_label=False,
            agnostic_nms=self.settings.agnostic_nms,
            classes=self._class_ids,
        )
        return [to_original(row, info) for row, info in zip(rows, infos, strict=True)]

    def _fit(self, size_hw: tuple[int, int]) -> Letterbox:
        only_hw, stride = self._backend.frame_hw, self._backend.stride
        return letterbox(size_hw, only_hw or self.settings.frame_hw, minimal=only_hw is None, stride=stride)

    def _check(self) -> None:
        settings = self.settings
        refuse_frame(settings.frame_hw, self._backend.stride)
        only_hw = self._backend.frame_hw
        if only_hw is not None and settings.frame_hw != only_hw:
            raise SettingsError(
                f"setting `imgsz` is {settings.imgsz}; the model was exported for {only_hw[0]} x {only_hw[1]} only",
                hint=f"use `--imgsz {only_hw[0]} {only_hw[1]}`, or export with `--dynamic`",
            )
        check_thresholds(self._backend, settings)


def _size_of(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _way_back(size_hw: tuple[int, int], fitted: Letterbox) -> ImageInfo:
    """The shift and scale of the pixels."""
    height, width = size_hw
    gain_xy = (fitted.content_hw[1] / width, fitted.content_hw[0] / height)
    left, top = fitted.origin_xy
    return ImageInfo(index=0, path="", size_hw=size_hw, gain_xy=gain_xy, pad_xy=(left, top))
