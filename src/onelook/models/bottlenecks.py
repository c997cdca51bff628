"""Residual and cross-stage-partial blocks. Sub-module names are part of the weight format and must not change.

Cross-stage partial: Wang et al., CSPNet, 2020. `expansion` is the hidden width as a fraction of the output's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onelook.models.activations import SiLU
from onelook.models.attention import TransformerBlock
from onelook.models.convolutions import Conv, CrossConv, DSConv, DWConv, GhostConv, batch_norm
from onelook.models.pooling import SPP


class Bottleneck(nn.Module):
    """1x1 down to the hidden width, 3x3 up again, plus the input where the channels agree."""

    def __init__(
        self, channels_in: int, channels_out: int, *, shortcut: bool = True, groups: int = 1, expansion: float = 0.5
    ) -> None:
        super().__init__()
        hidden = int(channels_out * expansion)
        self.cv1 = Conv(channels_in, hidden)
        self.cv2 = Conv(hidden, channels_out, kernel=3, groups=groups)
        self.adds_input = shortcut and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv2(self.cv1(x))
        return x + out if self.adds_input else out


class DSBottleneck(nn.Module):
    """`Bottleneck` of full hidden width whose 3x3 convolution is depth-wise separable."""

    def __init__(self, channels: int, *, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels)
        self.cv2 = DSConv(channels, channels, kernel=3)
        self.adds_input = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv2(self.cv1(x))
        return x + out if self.adds_input else out


class GhostBottleneck(nn.Module):
    """Two ghost convolutions, with a strided depth-wise one between them at stride 2: Han et al., GhostNet, 2020."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        hidden = channels_out // 2
        strided = stride == 2
        self.conv = nn.Sequential(
            GhostConv(channels_in, hidden),
            DWConv(hidden, hidden, kernel=kernel, stride=stride, activation=False) if strided else nn.Identity(),
            GhostConv(hidden, channels_out, activation=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if strided:
            self.shortcut = nn.Sequential(
                DWConv(channels_in, channels_in, kernel=kernel, stride=stride, activation=False),
                Conv(channels_in, channels_out, activation=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x) + self.shortcut(x)
        return out


class BottleneckCSP(nn.Module):
    """The cross-stage-partial block of the paper: plain convolutions on both branches, one shared batch-norm."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        repeats: int = 1,
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
    ) -> None:
        super().__init__()
        hidden = int(channels_out * expansion)
        self.cv1 = Conv(channels_in, hidden)
        self.cv2 = nn.Conv2d(channels_in, hidden, 1, bias=False)
        self.cv3 = nn.Conv2d(hidden, hidden, 1, bias=False)
        self.cv4 = Conv(2 * hidden, channels_out)
        self.bn = batch_norm(2 * hidden)
        self.act = SiLU()
        self.m = bottlenecks(hidden, repeats, shortcut=shortcut, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((self.cv3(self.m(self.cv1(x))), self.cv2(x)), dim=1)
        out: Tensor = self.cv4(self.act(self.bn(both)))
        return out


class CrossStage(nn.Module):
    """cv3(concat(m(cv1 x), cv2 x)) with 1x1 convolutions around the given inner module: what every C3 has in common."""

    def __init__(self, channels_in: int, channels_out: int, *, hidden: int, inner: nn.Module) -> None:
        super().__init__()
        self.cv1 = Conv(channels_in, hidden)
        self.cv2 = Conv(channels_in, hidden)
        self.cv3 = Conv(2 * hidden, channels_out)
        self.m = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), dim=1))
        return out


class C3(CrossStage):
    """Cross-stage block around `repeats` bottlenecks; a subclass puts other layers there.

    All of them take the same arguments, so that a table may swap one for another.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        repeats: int = 1,
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
    ) -> None:
        hidden = int(channels_out * expansion)
        inner = self.layers(hidden, repeats, shortcut=shortcut, groups=groups)
        super().__init__(channels_in, channels_out, hidden=hidden, inner=inner)

    @staticmethod
    def layers(channels: int, repeats: int, *, shortcut: bool, groups: int) -> nn.Module:
        """The inner module, from `channels` to as many."""
        return bottlenecks(channels, repeats, shortcut=shortcut, groups=groups)


class C3x(C3):
    """Cross-stage block around `repeats` cross convolutions."""

    @staticmethod
    def layers(channels: int, repeats: int, *, shortcut: bool, groups: int) -> nn.Module:
        return nn.Sequential(*(CrossConv(channels, channels, groups=groups, shortcut=shortcut) for _ in range(repeats)))


class C3TR(C3):
    """Cross-stage block around `repeats` layers of 4-headed attention; `shortcut` and `groups` have no effect."""

    @staticmethod
    def layers(channels: int, repeats: int, *, shortcut: bool, groups: int) -> nn.Module:
        return TransformerBlock(channels, channels, heads=4, layers=repeats)


class C3Ghost(C3):
    """Cross-stage block around `repeats` ghost bottlenecks; `shortcut` and `groups` have no effect."""

    @staticmethod
    def layers(channels: int, repeats: int, *, shortcut: bool, groups: int) -> nn.Module:
        return nn.Sequential(*(GhostBottleneck(channels, channels) for _ in range(repeats)))


class C3DS(CrossStage):
    """Cross-stage block around `repeats` depth-wise separable bottlenecks: Ge et al., YOLOX, 2021, section 3."""

    def __init__(self, channels_in: int, channels_out: int, *, repeats: int = 1, shortcut: bool = True) -> None:
        hidden = channels_out // 2
        inner = nn.Sequential(*(DSBottleneck(hidden, shortcut=shortcut) for _ in range(repeats)))
        super().__init__(channels_in, channels_out, hidden=hidden, inner=inner)


class C3SPP(CrossStage):
    """Cross-stage block around spatial pyramid pooling."""

    def __init__(
        self, channels_in: int, channels_out: int, *, kernels: Sequence[int] = (5, 9, 13), expansion: float = 0.5
    ) -> None:
        hidden = int(channels_out * expansion)
        super().__init__(channels_in, channels_out, hidden=hidden, inner=SPP(hidden, hidden, kernels=kernels))


def bottlenecks(channels: int, repeats: int, *, shortcut: bool, groups: int) -> nn.Sequential:
    """`repeats` bottlenecks in series whose hidden width is the full width."""
    return nn.Sequential(
        *(Bottleneck(channels, channels, shortcut=shortcut, groups=groups, expansion=1.0) for _ in range(repeats))
    )
