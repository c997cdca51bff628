"""The anchor boxes of a detection head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class AnchorGrid:
    """Anchor sizes of every output map.

    Attributes:
        anchors: (L, A, 2) float32 width, height in input pixels.
        strides: (L,) float32 input pixels per cell.
    """

    anchors: Tensor
    strides: Tensor
