"""The first convolution of YOLOX as one that takes our images: 6x6, RGB, 0 to 1."""

from __future__ import annotations

import torch
from torch import Tensor

NUM_COLOURS = 3
GREY_LEVELS = 255.0


def folded_stem(weight: Tensor, *, gain: float = GREY_LEVELS, swap_colours: bool = True) -> Tensor:
    """The 6x6 kernel of stride 2, padding 2 that does what a 3x3 kernel on the four pixel phases does; exact.

    Args:
        weight: (C, 12, 3, 3), input channels by phase (column offset, row offset), then colour.
        gain: factor on pixel values: 255 turns a kernel for 0 to 255 into one for 0 to 1.
        swap_colours: makes a kernel for BGR one for RGB.

    Returns:
        (C, 3, 6, 6).
    """
    phases = torch.unflatten(weight, 1, (2, 2, NUM_COLOURS))  # (C, dx, dy, colour, a, b)
    if swap_colours:
        phases = phases.flip(3)
    # (C, dx, dy, colour, a, b) -> (C, colour, a, dy, b, dx) -> (C, colour, 2 a + dy, 2 b + dx)
    kernel = phases.permute(0, 3, 4, 2, 5, 1).reshape(len(weight), NUM_COLOURS, 6, 6)
    return torch.mul(kernel, gain).contiguous()
