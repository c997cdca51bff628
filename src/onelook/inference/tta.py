"""Test-time augmentation: a detector predicts three times, smaller and mirrored; NMS is not part of it.

Letters: B images, H, W pixels, N boxes of an image, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from onelook.errors import ModelError, SettingsError
from onelook.inference.backend import Backend, predict_all

BORDER = 0.447
"""Grey of the border beside a smaller image, 0 to 1: the mean of ImageNet's images."""


@dataclass(frozen=True)
class View:
    """One size and orientation of an image: its scale, and whether left is right."""

    scale: float
    is_mirrored: bool = False


VIEWS = (View(1.0), View(0.83, is_mirrored=True), View(0.67))


class AugmentedDetector(Backend):
    """Gives the boxes of all `VIEWS`, one after the other, in pixels of the image as it is.

    The full view leaves out the boxes of the coarsest map, the smallest view those of the finest: large objects are
    found better in small images, and small ones in large images. A detector with one map keeps all.

    Args:
        detector: sees each view with a border at the right and the bottom, up to multiples of its stride.

    Raises:
        SettingsError: the detector takes one size only, applies NMS itself, or does not tell its maps apart.
    """

    def __init__(self, detector: Backend) -> None:
        hint = "drop `--augment`, or export with `--dynamic` and without `--nms`"
        if detector.frame_hw is not None:
            height, width = detector.frame_hw
            raise SettingsError(
                f"setting `augment` needs images of several sizes; the model was exported for {height} x {width} only",
                hint=hint,
            )
        if detector.thresholds is not None:
            raise SettingsError("setting `augment` needs all boxes; the export applies NMS itself", hint=hint)
        if detector.map_strides is None:
            raise SettingsError("setting `augment` needs to know the model's maps; the export does not tell", hint=hint)
        self._detector = detector
        self._strides = detector.map_strides
        self.names = detector.names
        self.num_classes = detector.num_classes
        self.stride = detector.stride
        self.device = detector.device
        self.imgsz = detector.imgsz

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Tensor:
        """Decoded predictions of all views, see `Backend.predict`.

        Raises:
            ModelError: the number of boxes does not suit the maps.
        """
        return torch.cat([self._seen(images, view) for view in VIEWS], dim=1)

    def _seen(self, images: Tensor, view: View) -> Tensor:
        height, width = images.shape[2:]
        content_height, content_width = _content(images, view.scale)
        shown = scaled(images.flip(3) if view.is_mirrored else images, view.scale, stride=self.stride)
        predictions = predict_all(self._detector, shown)
        predictions = predictions[:, self._wanted(view, predictions.shape[1], shown)]
        ratio_x, ratio_y = content_width / width, content_height / height  # of the whole pixels, not `view.scale`
        boxes = predictions[..., :4] / torch.tensor([ratio_x, ratio_y, ratio_x, ratio_y], device=predictions.device)
        x = width - boxes[..., :1] if view.is_mirrored else boxes[..., :1]
        return torch.cat([x, boxes[..., 1:], predictions[..., 4:]], dim=2)

    def _wanted(self, view: View, num_rows: int, shown: Tensor) -> Tensor:
        """(N,) flags of the rows that this view contributes."""
        height, width = shown.shape[2:]
        cells = torch.tensor([(height // stride) * (width // stride) for stride in self._strides])
        boxes_per_cell, rest = divmod(num_rows, int(cells.sum()))
        if rest:
            raise ModelError(f"the model gives {num_rows} boxes for {int(cells.sum())} cells")
        left_out = {VIEWS[0]: max(self._strides), VIEWS[-1]: min(self._strides)}.get(view)
        is_wanted = torch.tensor([len(self._strides) == 1 or stride != left_out for stride in self._strides])
        return is_wanted.repeat_interleave(cells * boxes_per_cell).to(shown.device)


def scaled(images: Tensor, scale: float, *, stride: int) -> Tensor:
    """Smaller images, with a grey border at the right and the bottom up to multiples of `stride`.

    Args:
        images: (B, 3, H, W) from 0 to 1.
        scale: 1 leaves them as they are.
    """
    height, width = _content(images, scale)
    if scale != 1:
        images = functional.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
    return functional.pad(images, (0, -width % stride, 0, -height % stride), value=BORDER)


def _content(images: Tensor, scale: float) -> tuple[int, int]:
    """Height and width of the scaled images, pixels."""
    return max(1, round(images.shape[2] * scale)), max(1, round(images.shape[3] * scale))
