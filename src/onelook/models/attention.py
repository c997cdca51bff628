"""Attention over all cells of a map. Letters: B images, C channels, N = H * W cells."""

from __future__ import annotations

from torch import Tensor, nn

from onelook.models.convolutions import Conv


class TransformerLayer(nn.Module):
    """Self-attention and a two-layer linear map, both with a shortcut; no layer-norm, no activation.

    After Dosovitskiy et al., An Image is Worth 16x16 Words, 2021, without its normalisation and non-linearity.
    """

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.q = nn.Linear(channels, channels, bias=False)
        self.k = nn.Linear(channels, channels, bias=False)
        self.v = nn.Linear(channels, channels, bias=False)
        self.ma = nn.MultiheadAttention(channels, heads)
        self.fc1 = nn.Linear(channels, channels, bias=False)
        self.fc2 = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        attended: Tensor = self.ma(self.q(x), self.k(x), self.v(x), need_weights=False)[0]
        x = attended + x
        out: Tensor = self.fc2(self.fc1(x)) + x
        return out


class TransformerBlock(nn.Module):
    """Layers of attention over the cells of a map, (B, C_in, H, W) -> (B, C_out, H, W).

    A learned linear map of the cells is added to them first, instead of a position encoding.
    """

    def __init__(self, channels_in: int, channels_out: int, *, heads: int = 4, layers: int = 1) -> None:
        super().__init__()
        self.conv = Conv(channels_in, channels_out) if channels_in != channels_out else None
        self.linear = nn.Linear(channels_out, channels_out)
        self.tr = nn.Sequential(*(TransformerLayer(channels_out, heads=heads) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        if self.conv is not None:
            x = self.conv(x)
        batch, channels, height, width = x.shape
        cells = x.flatten(2).permute(2, 0, 1)  # (N, B, C)
        cells = self.tr(cells + self.linear(cells))
        out: Tensor = cells.permute(1, 2, 0).reshape(batch, channels, height, width)
        return out
