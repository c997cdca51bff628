"""Spatial pyramid pooling: one map seen through pooling windows of several sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onelook.models.convolutions import Conv


class SPP(nn.Module):
    """Max-pools of several sizes side by side: He et al., Spatial Pyramid Pooling, 2014, without the fixed grid."""

    def __init__(self, channels_in: int, channels_out: int, *, kernels: Sequence[int] = (5, 9, 13)) -> None:
        super().__init__()
        hidden = channels_in // 2
        self.cv1 = Conv(channels_in, hidden)
        self.cv2 = Conv(hidden * (len(kernels) + 1), channels_out)
        self.m = nn.ModuleList(nn.MaxPool2d(kernel, stride=1, padding=kernel // 2) for kernel in kernels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        out: Tensor = self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], dim=1))
        return out


class SPPF(nn.Module):
    """`SPP` by one pool applied three times in series: kernel 5 equals sizes 5, 9 and 13 at a fraction of the work."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int = 5) -> None:
        super().__init__()
        hidden = channels_in // 2
        self.cv1 = Conv(channels_in, hidden)
        self.cv2 = Conv(hidden * 4, channels_out)
        self.m = nn.MaxPool2d(kernel, stride=1, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.cv1(x)]
        for _ in range(3):
            maps.append(self.m(maps[-1]))
        out: Tensor = self.cv2(torch.cat(maps, dim=1))
        return out
