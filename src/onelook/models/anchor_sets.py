"""Anchor sets by name, and anchors for a head whose data nobody has seen yet."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from onelook.errors import ModelError
from onelook.files.yaml import load_yaml
from onelook.settings.nearest_name import nearest_name

ANCHOR_FILE = Path(__file__).parent / "zoo" / "anchors.yaml"


def named_anchors(name: str) -> list[list[float]]:
    """The anchors, pixels, that `anchors: <name>` stands for: one flat list w, h, w, h, ... per map.

    Raises:
        ModelError: there is no set of that name.

    >>> named_anchors("P5-640")[0]
    [10, 13, 16, 30, 33, 23]
    """
    sets: dict[str, list[list[float]]] = load_yaml(ANCHOR_FILE, error=ModelError)
    if name not in sets:
        raise ModelError(f"anchor set `{name}` is not known", hint=nearest_name(name, sets))
    return sets[name]


def unfitted_anchors(num_anchors: int, strides: Tensor) -> Tensor:
    """Square anchors from 2 to 8 cells wide, (L, num_anchors, 2) pixels: usable, but better fitted to the data."""
    steps = (torch.arange(num_anchors, dtype=torch.float32, device=strides.device) + 0.5) / num_anchors
    sides = strides[:, None] * 2 ** (1 + 2 * steps)
    return sides[:, :, None].expand(-1, -1, 2)
