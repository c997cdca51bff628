"""Convolution blocks. Sub-module names are part of the weight format and must not change."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onelook.models.activations import ActivationFactory, SiLU

Size = int | tuple[int, int]
BATCH_NORM_EPSILON = 1e-3


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the constants of this family: eps 0.001, momentum 0.03."""
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON, momentum=0.03)


def same_padding(kernel: Size, dilation: int = 1) -> Size:
    """Padding, pixels, that keeps the size at stride 1 for odd kernels.

    >>> same_padding(3), same_padding(3, dilation=2), same_padding((1, 5))
    (1, 2, (0, 2))
    """
    if isinstance(kernel, int):
        return (dilation * (kernel - 1) + 1) // 2
    return ((dilation * (kernel[0] - 1) + 1) // 2, (dilation * (kernel[1] - 1) + 1) // 2)


class Conv(nn.Module):
    """2-D convolution without bias, batch-norm, activation; (B, C_in, H, W) -> (B, C_out, H/stride, W/stride).

    Args:
        padding: pixels; None keeps the size at stride 1.
        activation: True for SiLU, False for none, or a factory that is called with `channels_out`.
    """

    bn: nn.BatchNorm2d | None

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: Size = 1,
        stride: Size = 1,
        padding: Size | None = None,
        groups: int = 1,
        dilation: int = 1,
        activation: bool | ActivationFactory = True,
    ) -> None:
        super().__init__()
        pad = same_padding(kernel, dilation) if padding is None else padding
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride, pad, dilation=dilation, groups=groups, bias=False
        )
        self.bn = batch_norm(channels_out)
        self.act: nn.Module
        if isinstance(activation, bool):
            self.act = SiLU() if activation else nn.Identity()
        else:
            self.act = activation(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.bn is not None:  # None once `fuse` has folded it into the convolution
            x = self.bn(x)
        out: Tensor = self.act(x)
        return out


class DWConv(Conv):
    """`Conv` with as many groups as both channel counts allow (depth-wise where they are equal)."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: Size = 1,
        stride: Size = 1,
        dilation: int = 1,
        activation: bool | ActivationFactory = True,
    ) -> None:
        super().__init__(
            channels_in,
            channels_out,
            kernel=kernel,
            stride=stride,
            groups=math.gcd(channels_in, channels_out),
            dilation=dilation,
            activation=activation,
        )


class DSConv(nn.Module):
    """Depth-wise separable: a `Conv` per channel with kernel and stride, then a 1x1 `Conv` across channels."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: Size = 1, stride: Size = 1) -> None:
        super().__init__()
        self.dconv = Conv(channels_in, channels_in, kernel=kernel, stride=stride, groups=channels_in)
        self.pconv = Conv(channels_in, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pconv(self.dconv(x))
        return out


class DWConvTranspose2d(nn.ConvTranspose2d):
    """Transposed convolution with bias and as many groups as both channel counts allow."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: Size = 1,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
    ) -> None:
        groups = math.gcd(channels_in, channels_out)
        super().__init__(channels_in, channels_out, kernel, stride, padding, output_padding, groups)


class Focus(nn.Module):
    """The four pixel phases of 2x2 cells stacked as channels, then `Conv`; halves height and width."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: Size = 1,
        stride: Size = 1,
        padding: Size | None = None,
        groups: int = 1,
        activation: bool | ActivationFactory = True,
    ) -> None:
        super().__init__()
        self.conv = Conv(
            4 * channels_in,
            channels_out,
            kernel=kernel,
            stride=stride,
            padding=padding,
            groups=groups,
            activation=activation,
        )

    def forward(self, x: Tensor) -> Tensor:
        rows_even, rows_odd = x[:, :, ::2], x[:, :, 1::2]
        phases = [rows_even[..., ::2], rows_odd[..., ::2], rows_even[..., 1::2], rows_odd[..., 1::2]]
        out: Tensor = self.conv(torch.cat(phases, dim=1))
        return out


class GhostConv(nn.Module):
    """Half the channels by `Conv`, the other half by a cheap 5x5 depth-wise one: Han et al., GhostNet, 2020."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: Size = 1,
        stride: Size = 1,
        groups: int = 1,
        activation: bool | ActivationFactory = True,
    ) -> None:
        super().__init__()
        hidden = channels_out // 2
        self.cv1 = Conv(channels_in, hidden, kernel=kernel, stride=stride, groups=groups, activation=activation)
        self.cv2 = Conv(hidden, hidden, kernel=5, groups=hidden, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.cv1(x)
        return torch.cat((primary, self.cv2(primary)), dim=1)


class CrossConv(nn.Module):
    """A (1, k) convolution, then a (k, 1) one, with an optional shortcut."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        expansion: float = 1.0,
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        hidden = int(channels_out * expansion)
        self.cv1 = Conv(channels_in, hidden, kernel=(1, kernel), stride=(1, stride))
        self.cv2 = Conv(hidden, channels_out, kernel=(kernel, 1), stride=(stride, 1), groups=groups)
        self.adds_input = shortcut and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv2(self.cv1(x))
        return x + out if self.adds_input else out


class MixConv2d(nn.Module):
    """Several kernel sizes side by side, each giving a share of the channels: Tan and Le, MixConv, 2019.

    The paper's kernels are depth-wise; these are full convolutions.

    Args:
        kernels: odd sizes, pixels.
        equal: True splits the channels evenly, False so that each size has about the same number of weights.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernels: Sequence[int] = (1, 3),
        stride: int = 1,
        equal: bool = True,
    ) -> None:
        super().__init__()
        shares = split_channels(channels_out, [1.0 if equal else 1.0 / kernel**2 for kernel in kernels])
        self.m = nn.ModuleList(
            nn.Conv2d(channels_in, share, kernel, stride, kernel // 2, bias=False)
            for share, kernel in zip(shares, kernels, strict=True)
        )
        self.bn = batch_norm(channels_out)
        self.act = SiLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.bn(torch.cat([convolution(x) for convolution in self.m], dim=1)))
        return out


def split_channels(total: int, weights: Sequence[float]) -> list[int]:
    """`total` channels shared out in proportion to `weights`: whole numbers with that sum, by largest remainder.

    >>> split_channels(10, [1, 1, 1]), split_channels(64, [1, 1 / 9])
    ([4, 3, 3], [58, 6])
    """
    exact = [total * weight / sum(weights) for weight in weights]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares
