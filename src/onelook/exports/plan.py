"""What is to be exported and how, and the network in the forms that converters take.

Letters: B images, H, W pixels, N boxes of an image, K classes, A anchors per cell, s pixels per cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from onelook.exports.layouts import best_pairs, channels_first, undecoded
from onelook.exports.metadata import Metadata
from onelook.models.detector import DetectionModel
from onelook.models.fuse import halved

Images = npt.NDArray[np.float32]
"""(B, 3, H, W) from 0 to 1."""


@dataclass(frozen=True)
class ExportPlan:
    """One export.

    Attributes:
        model: fused, in evaluation mode and float32, on the CPU; not changed.
        metadata: what the file will say about itself.
        example_hw: height and width for tracing, pixels.
        opset: version of the operators of ONNX.
        simplify: fold constants of the ONNX graph and drop its idle nodes.
        workspace_gib: memory that TensorRT may use while it builds.
        calibration: gives images whose activations set the ranges of 8-bit arithmetic; None without such.
    """

    model: DetectionModel
    metadata: Metadata
    example_hw: tuple[int, int]
    opset: int = 20
    simplify: bool = True
    workspace_gib: float = 4.0
    calibration: Callable[[], Iterator[Images]] | None = None

    def example(self) -> Tensor:
        """Images to trace the network with, (B, 3, H, W) float32."""
        return torch.full((self.metadata.batch or 2, 3, *self.example_hw), 0.5)


class Predictions(nn.Module):
    """A detector with what it predicts in one of the layouts: (B, 3, H, W) float32 -> (B, N, 5 + K) float32, or others.

    Args:
        metadata: says in which layout, and whether the network, but not the decoding, computes in 16 bits.
    """

    def __init__(self, model: DetectionModel, metadata: Metadata) -> None:
        super().__init__()
        self.half_precision = metadata.precision == "fp16"
        self.network = halved(model) if self.half_precision else model
        self.layout = metadata.layout

    def forward(self, images: Tensor) -> Tensor:
        raw_maps = self.network(images.half() if self.half_precision else images)
        if self.layout == "yolox":
            return undecoded(raw_maps, self.network.head.decoding())
        predictions = self.network.decode(raw_maps)
        if self.layout == "channels-first":
            return channels_first(predictions)
        return best_pairs(predictions) if self.layout == "end-to-end" else predictions


class HeadMaps(nn.Module):
    """A detector up to the last convolutions: (B, 3, H, W) -> L tensors (B, A * outputs, H / s, W / s)."""

    def __init__(self, model: DetectionModel) -> None:
        super().__init__()
        self.network = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.head.flat_maps(self.network.features(images)))
