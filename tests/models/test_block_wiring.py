"""How blocks join their parts: the order of the channels in a concatenation decides whether foreign weights work."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onelook.models.attention import TransformerBlock, TransformerLayer
from onelook.models.bottlenecks import C3, C3TR, BottleneckCSP, C3Ghost, GhostBottleneck
from onelook.models.classify import Classify
from onelook.models.convolutions import Conv, CrossConv, GhostConv, MixConv2d
from onelook.models.heads import Proto
from onelook.models.pooling import SPP, SPPF


def cat(*maps: Tensor) -> Tensor:
    return torch.cat(maps, dim=1)


def five_pools(x: Tensor) -> Tensor:
    return cat(x, *(F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)))


WIRING: dict[str, tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]] = {
    "Conv": (Conv(8, 8), lambda b, x: F.silu(b.bn(b.conv(x)))),
    "CrossConv": (CrossConv(8, 8, shortcut=True), lambda b, x: x + b.cv2(b.cv1(x))),
    "GhostConv": (GhostConv(8, 8), lambda b, x: cat(b.cv1(x), b.cv2(b.cv1(x)))),
    "GhostBottleneck": (GhostBottleneck(8, 8), lambda b, x: b.conv[2](b.conv[0](x)) + x),
    "strided GhostBottleneck": (
        GhostBottleneck(8, 8, stride=2),
        lambda b, x: b.conv[2](b.conv[1](b.conv[0](x))) + b.shortcut[1](b.shortcut[0](x)),
    ),
    "BottleneckCSP": (
        BottleneckCSP(8, 8),
        lambda b, x: b.cv4(F.silu(b.bn(cat(b.cv3(b.m(b.cv1(x))), b.cv2(x))))),
    ),
    "C3": (C3(8, 8, repeats=2), lambda b, x: b.cv3(cat(b.m[1](b.m[0](b.cv1(x))), b.cv2(x)))),
    "C3TR": (C3TR(8, 8), lambda b, x: b.cv3(cat(b.m(b.cv1(x)), b.cv2(x)))),
    "C3Ghost": (C3Ghost(8, 8), lambda b, x: b.cv3(cat(b.m(b.cv1(x)), b.cv2(x)))),
    "SPP": (SPP(8, 8), lambda b, x: b.cv2(five_pools(b.cv1(x)))),
    "SPPF": (SPPF(8, 8), lambda b, x: b.cv2(five_pools(b.cv1(x)))),
    "MixConv2d": (MixConv2d(8, 8), lambda b, x: F.silu(b.bn(cat(b.m[0](x), b.m[1](x))))),
    "Proto": (
        Proto(8, num_prototype_channels=8, num_masks=4),
        lambda b, x: b.cv3(b.cv2(b.cv1(x).repeat_interleave(2, 2).repeat_interleave(2, 3))),
    ),
    "Classify": (Classify(8, 3), lambda b, x: b.linear(b.conv(x).mean(dim=(2, 3)))),
}


@pytest.mark.parametrize("name", WIRING)
def test_block_equals_its_definition(name: str) -> None:
    block, definition = WIRING[name]
    block.eval()
    x = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(block(x.clone()), definition(block, x.clone()), rtol=1e-4, atol=1e-5)


def test_transformer_layer_adds_its_input_around_attention_and_around_the_linear_maps() -> None:
    layer = TransformerLayer(8, heads=2).eval()
    cells = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        attended = layer.ma(layer.q(cells), layer.k(cells), layer.v(cells))[0] + cells
        torch.testing.assert_close(layer(cells), layer.fc2(layer.fc1(attended)) + attended, rtol=1e-4, atol=1e-5)


def test_transformer_block_reads_cells_row_by_row_and_adds_a_linear_map_of_them() -> None:
    block = TransformerBlock(8, 8, heads=2, layers=1).eval()
    x = torch.randn(2, 8, 2, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = block(x)
        cells = torch.stack([x[:, :, row, column] for row in range(2) for column in range(3)])
        expected = block.tr[0](cells + block.linear(cells))
    for position in range(6):
        row, column = divmod(position, 3)
        torch.testing.assert_close(out[:, :, row, column], expected[position], rtol=1e-4, atol=1e-5)
