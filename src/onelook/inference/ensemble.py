"""Several detectors as one, and the way from models to what runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from onelook.errors import SettingsError
from onelook.inference.backend import Backend, TorchBackend, predict_all, refuse_other_names
from onelook.inference.tta import AugmentedDetector
from onelook.models.detector import DetectionModel


class Ensemble(Backend):
    """Gives the boxes of all its members, one after the other: one NMS merges them.

    Frames suit all members: multiples of all strides, and the only size of those that take one size.

    Args:
        members: at least one; each may be on a device of its own, images and results are where the first is.
        labels: names of the members for messages.

    Raises:
        ModelError: members have other classes than the first.
        SettingsError: members take different sizes only, or one applies NMS itself.
    """

    def __init__(self, members: Sequence[Backend], labels: Sequence[str] = ()) -> None:
        self._members = tuple(members)
        labels = tuple(labels) or tuple(f"number {number}" for number in range(1, len(self._members) + 1))
        first = self._members[0]
        for member, label in zip(self._members, labels, strict=True):
            refuse_other_names(first.names, member.names, weights=labels[0], other=label)
            if member.thresholds is not None:
                raise SettingsError(
                    f"weights `{label}` apply NMS themselves; an ensemble needs all boxes",
                    hint="export without `--nms`",
                )
        sizes = {member.frame_hw: label for member, label in zip(self._members, labels, strict=True)}
        sizes.pop(None, None)
        if len(sizes) > 1:
            each = ", ".join(f"`{label}` for {size[0]} x {size[1]}" for size, label in sizes.items() if size)
            raise SettingsError(
                f"the weights of the ensemble were exported for different sizes: {each}",
                hint="export them for one size, or with `--dynamic`",
            )
        self.names = first.names
        self.num_classes = first.num_classes
        self.stride = math.lcm(*(member.stride for member in self._members))
        self.device = first.device
        self.frame_hw = next(iter(sizes), None)
        self.imgsz = max((one.imgsz for one in self._members if one.imgsz), default=None)

    def predict(self, images: Tensor) -> Tensor:
        """Decoded predictions of all members, see `Backend.predict`."""
        found = [predict_all(member, images.to(member.device)).to(self.device) for member in self._members]
        return torch.cat(found, dim=1)


def assembled(
    models: Sequence[DetectionModel | Backend],
    *,
    half: bool = False,
    augment: bool = False,
    labels: Sequence[str] = (),
) -> Backend:
    """What runs one detector, or several as an ensemble.

    Args:
        half: 16-bit arithmetic in PyTorch models; GPUs only.
        augment: test-time augmentation, see `AugmentedDetector`.
        labels: names of the models for messages.

    Raises:
        ModelError, SettingsError: see `Ensemble` and `AugmentedDetector`; or `half` does not suit a model.
    """
    members = [_backend(model, half=half) for model in models]
    if augment:
        members = [AugmentedDetector(member) for member in members]
    return members[0] if len(members) == 1 else Ensemble(members, labels)


def _backend(model: DetectionModel | Backend, *, half: bool) -> Backend:
    if isinstance(model, DetectionModel):
        return TorchBackend(model, half=half)
    if half:
        raise SettingsError("setting `half` is for PyTorch models", hint="export with `--half`")
    return model
