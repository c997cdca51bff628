"""Blending two mosaics: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.

Both keep their labels at full weight, as usual in detection.
"""

from __future__ import annotations

import torch
from torch import Tensor

from onelook.data.augment.draft import Draft, Stream
from onelook.data.augment.mosaic import mosaic_with

CONCENTRATION = 32.0  # of the beta distribution: ratios stay near one half


def draw(draft: Draft, stream: Stream) -> None:
    """A second mosaic beside the first, by the probability `mixup`; an image alone is left alone."""
    is_mosaic = len(draft.canvases[0].sources) > 1
    if not is_mosaic or not draft.hyperparameters.mixup:
        return
    rng = stream(0)
    if rng.random() < draft.hyperparameters.mixup:
        draft.ratio = float(rng.beta(CONCENTRATION, CONCENTRATION))
        candidates = draft.numbers.candidates
        draft.canvases.append(mosaic_with(draft, candidates[int(rng.integers(len(candidates)))], rng, layer=1))


def blended_on_device(first: Tensor, second: Tensor, ratios: Tensor) -> Tensor:
    """Images (B, H, W, 3) uint8 with others mixed in, `first` with weights (B,) float32; at 1 they stay as they are."""
    weights = ratios[:, None, None, None]
    mixed = (first.float() * weights + second.float() * (1 - weights)).round_().to(torch.uint8)
    return torch.where(weights < 1, mixed, first)
