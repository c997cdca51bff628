"""Conversions between the box formats, for NumPy arrays and tensors alike; overlap lives in `iou.py`.

Formats: `xyxy` corners, `cxcywh` centre and size, `xywh` top-left corner and size.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

ArrayT = TypeVar("ArrayT", npt.NDArray[Any], torch.Tensor)


def cxcywh_to_xyxy(boxes: ArrayT) -> ArrayT:
    """Corners of boxes given by centre and size, (..., 4), same unit.

    >>> cxcywh_to_xyxy(np.array([[5.0, 5.0, 4.0, 2.0]])).tolist()
    [[3.0, 4.0, 7.0, 6.0]]
    """
    half = boxes[..., 2:4] / 2
    return _join(boxes[..., 0:2] - half, boxes[..., 0:2] + half)


def xyxy_to_cxcywh(boxes: ArrayT) -> ArrayT:
    """Centre and size of boxes given by corners, (..., 4), same unit."""
    return _join((boxes[..., 0:2] + boxes[..., 2:4]) / 2, boxes[..., 2:4] - boxes[..., 0:2])


def xyxy_to_xywh(boxes: ArrayT) -> ArrayT:
    """Top-left corner and size of boxes given by corners, (..., 4), same unit."""
    return _join(boxes[..., 0:2], boxes[..., 2:4] - boxes[..., 0:2])


def clip_xyxy(boxes: npt.NDArray[Any], width: float, height: float) -> npt.NDArray[Any]:
    """Boxes with their corners moved inside [0, width] x [0, height], (..., 4), same unit.

    A box that lies wholly outside becomes one of zero area on the border.
    """
    limit = np.array([width, height, width, height], dtype=boxes.dtype)
    clipped: npt.NDArray[Any] = np.clip(boxes, 0, limit)
    return clipped


def _join(first: ArrayT, second: ArrayT) -> ArrayT:
    if isinstance(first, torch.Tensor):
        return torch.cat([first, second], dim=-1)
    return np.concatenate([first, second], axis=-1)
