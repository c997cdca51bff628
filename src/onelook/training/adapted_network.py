"""A student's network that also gives its features, in the channels of its teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onelook.models.detector import DetectionModel


class AdaptedNetwork(nn.Module):
    """Raw maps of a model, and behind them its features after one convolution each, (B, T, H, W).

    Args:
        adapters: of `feature_adapters`.
    """

    def __init__(self, model: DetectionModel, adapters: nn.ModuleList) -> None:
        super().__init__()
        self.model = model
        self.adapters = adapters

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw maps and adapted features of (B, 3, H, W) images."""
        features = self.model.features(images)
        maps = self.model.raw_maps(features)
        return [*maps, *(adapter(feature) for adapter, feature in zip(self.adapters, features, strict=True))]


def feature_adapters(channels_in: Sequence[int], channels_out: Sequence[int], *, seed: int) -> nn.ModuleList:
    """A convolution of one cell for each map, from the channels of a student to those of its teacher, on the CPU."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        pairs = zip(channels_in, channels_out, strict=True)
        # Without a bias, which the normalisation that follows would take away again.
        return nn.ModuleList(nn.Conv2d(before, after, 1, bias=False) for before, after in pairs)
