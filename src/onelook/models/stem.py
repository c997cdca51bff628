"""The first convolution of YOLOX as one that takes our images: 6x6, RGB, 0 to 1."""

from __future__ import annotations

import torch
from torch import Tensor

NUM_COLOURS = 3
GREY_LEVELS = 255.0


def folded_stem(weight: Tensor) -> Tensor:
    """The 6x6 kernel of stride 2, padding 2 that gives with our images what a 3x3 kernel on pixel phases gives; exact.

    Args:
        weight: (C, 12, 3, 3), input channels by phase (column offset, row offset), then colour, BGR from 0 to 255.

    Returns:
        (C, 3, 6, 6).
    """
    phases = torch.unflatten(weight, 1, (2, 2, NUM_COLOURS)).flip(3)  # (C, dx, dy, colour, a, b)
    # (C, dx, dy, colour, a, b) -> (C, colour, a, dy, b, dx) -> (C, colour, 2 a + dy, 2 b + dx)
    kernel = phases.permute(0, 3, 4, 2, 5, 1).reshape(len(weight), NUM_COLOURS, 6, 6)
    return torch.mul(kernel, GREY_LEVELS).contiguous()
