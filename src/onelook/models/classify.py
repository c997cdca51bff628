"""The ending of an image classifier."""

from __future__ import annotations

from torch import Tensor, nn

from onelook.models.convolutions import Conv, Size

CLASSIFIER_WIDTH = 1280


class Classify(nn.Module):
    """Class logits of whole images: `Conv` to 1280 channels, mean over the map, linear; (B, C, H, W) -> (B, K)."""

    def __init__(
        self,
        channels_in: int,
        num_classes: int,
        *,
        kernel: Size = 1,
        stride: Size = 1,
        padding: Size | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = Conv(channels_in, CLASSIFIER_WIDTH, kernel=kernel, stride=stride, padding=padding, groups=groups)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(p=0.0, inplace=True)
        self.linear = nn.Linear(CLASSIFIER_WIDTH, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.drop(self.pool(self.conv(x)).flatten(1)))
        return out
