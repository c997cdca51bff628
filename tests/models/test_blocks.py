"""Blocks: shapes, weight names, gradients, memory layout, and the arithmetic that other files rely on."""

from __future__ import annotations

import doctest
import importlib
import math
import pkgutil

import pytest
import torch
from torch import Tensor, nn

import onelook.models
from onelook.models.activations import AconC, FReLU, MetaAconC, SiLU
from onelook.models.attention import TransformerBlock
from onelook.models.blocks import BLOCKS, HEADS, JOINING_BLOCKS
from onelook.models.bottlenecks import C3, C3DS, C3SPP, C3TR, Bottleneck, BottleneckCSP, C3Ghost, C3x, GhostBottleneck
from onelook.models.classify import Classify
from onelook.models.convolutions import (
    Conv,
    CrossConv,
    DSConv,
    DWConv,
    DWConvTranspose2d,
    Focus,
    GhostConv,
    MixConv2d,
    split_channels,
)
from onelook.models.heads import Proto
from onelook.models.pooling import SPP, SPPF
from onelook.models.reshaping import Contract, Expand, Sum

# a module that takes (2, 16, 8, 8), and the shape of its output without the batch
CASES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "Conv": (Conv(16, 24, kernel=3, stride=2), (24, 4, 4)),
    "Conv dilated": (Conv(16, 24, kernel=3, dilation=2), (24, 8, 8)),
    "Conv without activation": (Conv(16, 24, kernel=(1, 3), activation=False), (24, 8, 8)),
    "Conv with its own activation": (Conv(16, 24, activation=FReLU), (24, 8, 8)),
    "DSConv": (DSConv(16, 24, kernel=3, stride=2), (24, 4, 4)),
    "DWConv": (DWConv(16, 32, kernel=3, stride=2), (32, 4, 4)),
    "DWConvTranspose2d": (DWConvTranspose2d(16, 8, kernel=2, stride=2), (8, 16, 16)),
    "Focus": (Focus(16, 24, kernel=3), (24, 4, 4)),
    "GhostConv": (GhostConv(16, 24, kernel=3, stride=2), (24, 4, 4)),
    "CrossConv": (CrossConv(16, 16, kernel=3, stride=2), (16, 4, 4)),
    "CrossConv with shortcut": (CrossConv(16, 16, shortcut=True), (16, 8, 8)),
    "MixConv2d": (MixConv2d(16, 20, kernels=(1, 3, 5), stride=2), (20, 4, 4)),
    "MixConv2d of equal weights": (MixConv2d(16, 40, equal=False), (40, 8, 8)),
    "Bottleneck": (Bottleneck(16, 16), (16, 8, 8)),
    "GhostBottleneck": (GhostBottleneck(16, 16), (16, 8, 8)),
    "GhostBottleneck strided": (GhostBottleneck(16, 24, stride=2), (24, 4, 4)),
    "BottleneckCSP": (BottleneckCSP(16, 24, repeats=2), (24, 8, 8)),
    "C3": (C3(16, 24, repeats=2), (24, 8, 8)),
    "C3DS": (C3DS(16, 24, repeats=2), (24, 8, 8)),
    "C3x": (C3x(16, 24, repeats=2), (24, 8, 8)),
    "C3TR": (C3TR(16, 24, repeats=2), (24, 8, 8)),
    "C3SPP": (C3SPP(16, 24), (24, 8, 8)),
    "C3Ghost": (C3Ghost(16, 24, repeats=2), (24, 8, 8)),
    "TransformerBlock": (TransformerBlock(16, 32, heads=4, layers=2), (32, 8, 8)),
    "SPP": (SPP(16, 24), (24, 8, 8)),
    "SPPF": (SPPF(16, 24), (24, 8, 8)),
    "Contract": (Contract(2), (64, 4, 4)),
    "Expand": (Expand(2), (4, 16, 16)),
    "Proto": (Proto(16, num_prototype_channels=12, num_masks=4), (4, 16, 16)),
    "Classify": (Classify(16, 5), (5,)),
    "SiLU": (SiLU(), (16, 8, 8)),
    "FReLU": (FReLU(16), (16, 8, 8)),
    "AconC": (AconC(16), (16, 8, 8)),
    "MetaAconC": (MetaAconC(16), (16, 8, 8)),
}


def image(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_every_block_of_the_vocabulary_has_a_case() -> None:
    ours = {name for name in BLOCKS if not name.startswith("nn.")} - HEADS - JOINING_BLOCKS
    assert ours <= {name.partition(" ")[0] for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_output_has_its_shape_and_gradients_reach_every_parameter(name: str) -> None:
    block, shape = CASES[name]
    x = image(2, 16, 8, 8).requires_grad_()
    out = block.train()(x)
    assert tuple(out.shape) == (2, *shape)
    (out * image(*out.shape, seed=2)).sum().backward()
    for parameter_name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name
    assert x.grad is not None and x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", CASES)
def test_channels_last_gives_the_same_numbers(name: str) -> None:
    block = CASES[name][0].eval()
    x = image(2, 16, 8, 8)
    with torch.no_grad():
        expected = block(x.clone())
        got = block(x.clone(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


STATE_NAMES = {
    "Conv": "conv.weight bn.*",
    "CrossConv": "cv1.conv.weight cv1.bn.* cv2.conv.weight cv2.bn.*",
    "Bottleneck": "cv1.conv.weight cv1.bn.* cv2.conv.weight cv2.bn.*",
    "GhostConv": "cv1.conv.weight cv1.bn.* cv2.conv.weight cv2.bn.*",
    "Focus": "conv.conv.weight conv.bn.*",
    "MixConv2d": "m.0.weight m.1.weight m.2.weight bn.*",
    "SPPF": "cv1.conv.weight cv1.bn.* cv2.conv.weight cv2.bn.*",
    "SPP": "cv1.conv.weight cv1.bn.* cv2.conv.weight cv2.bn.*",
    "GhostBottleneck strided": (
        "conv.0.cv1.conv.weight conv.0.cv1.bn.* conv.0.cv2.conv.weight conv.0.cv2.bn.* conv.1.conv.weight conv.1.bn.* "
        "conv.2.cv1.conv.weight conv.2.cv1.bn.* conv.2.cv2.conv.weight conv.2.cv2.bn.* "
        "shortcut.0.conv.weight shortcut.0.bn.* shortcut.1.conv.weight shortcut.1.bn.*"
    ),
    "BottleneckCSP": (
        "cv1.conv.weight cv1.bn.* cv2.weight cv3.weight cv4.conv.weight cv4.bn.* bn.* "
        "m.0.cv1.conv.weight m.0.cv1.bn.* m.0.cv2.conv.weight m.0.cv2.bn.* "
        "m.1.cv1.conv.weight m.1.cv1.bn.* m.1.cv2.conv.weight m.1.cv2.bn.*"
    ),
    "C3": (
        "cv1.conv.weight cv1.bn.* cv2.conv.weight cv2.bn.* cv3.conv.weight cv3.bn.* "
        "m.0.cv1.conv.weight m.0.cv1.bn.* m.0.cv2.conv.weight m.0.cv2.bn.* "
        "m.1.cv1.conv.weight m.1.cv1.bn.* m.1.cv2.conv.weight m.1.cv2.bn.*"
    ),
    "TransformerBlock": (
        "conv.conv.weight conv.bn.* linear.weight linear.bias "
        "tr.0.q.weight tr.0.k.weight tr.0.v.weight tr.0.ma.in_proj_weight tr.0.ma.in_proj_bias "
        "tr.0.ma.out_proj.weight tr.0.ma.out_proj.bias tr.0.fc1.weight tr.0.fc2.weight "
        "tr.1.q.weight tr.1.k.weight tr.1.v.weight tr.1.ma.in_proj_weight tr.1.ma.in_proj_bias "
        "tr.1.ma.out_proj.weight tr.1.ma.out_proj.bias tr.1.fc1.weight tr.1.fc2.weight"
    ),
    "DWConvTranspose2d": "weight bias",
    "Classify": "conv.conv.weight conv.bn.* linear.weight linear.bias",
    "Proto": "cv1.conv.weight cv1.bn.* cv2.conv.weight cv2.bn.* cv3.conv.weight cv3.bn.*",
}


@pytest.mark.parametrize("name", STATE_NAMES)
def test_weights_have_the_names_of_the_format(name: str) -> None:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = set()
    for entry in STATE_NAMES[name].split():
        expected |= {entry.replace("*", part) for part in norm} if entry.endswith("*") else {entry}
    assert set(CASES[name][0].state_dict()) == expected


def test_batch_norm_has_the_constants_of_the_family_everywhere() -> None:
    norms = [m for block, _ in CASES.values() for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) > 60
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}


def test_fast_pyramid_pooling_equals_pools_of_5_9_and_13() -> None:
    side_by_side, in_series = SPP(16, 24).eval(), SPPF(16, 24).eval()
    in_series.load_state_dict(side_by_side.state_dict())
    x = image(2, 16, 20, 20)
    with torch.no_grad():
        assert torch.equal(side_by_side(x), in_series(x))


def test_focus_stacks_the_pixel_phases_in_the_order_of_the_format() -> None:
    focus = Focus(1, 4)
    focus.conv = nn.Identity()
    stacked = focus(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]))
    assert stacked.flatten().tolist() == [0.0, 2.0, 1.0, 3.0]


def test_contract_orders_channels_by_row_phase_column_phase_channel_and_expand_inverts_it() -> None:
    x = torch.arange(8.0).view(1, 2, 2, 2)
    contracted = Contract(2)(x)
    assert contracted.flatten().tolist() == [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]
    assert torch.equal(Expand(2)(contracted), x)


@pytest.mark.parametrize(
    "weighted, expected", [(False, 6.0), (True, 1.0 + 2 * 2 * 0.3775406688 + 3 * 2 * 0.2689414214)]
)
def test_sum_weighs_later_maps_by_twice_a_sigmoid(weighted: bool, expected: float) -> None:
    maps = [torch.full((1, 1, 1, 1), value) for value in (1.0, 2.0, 3.0)]
    assert Sum(3, weighted)(maps).item() == pytest.approx(expected)


@pytest.mark.parametrize("shortcut, channels_out, adds", [(True, 16, True), (False, 16, False), (True, 24, False)])
def test_bottleneck_adds_its_input_only_where_the_channels_agree(shortcut: bool, channels_out: int, adds: bool) -> None:
    block = Bottleneck(16, channels_out, shortcut=shortcut).eval()
    x = image(1, 16, 4, 4)
    with torch.no_grad():
        added = block(x.clone()) - block.cv2(block.cv1(x.clone()))
    torch.testing.assert_close(added, x if adds else torch.zeros_like(added))


@pytest.mark.parametrize("total", [8, 17, 64])
@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 1 / 9, 1 / 25]])
def test_channel_shares_add_up_and_stay_within_one_of_the_exact_share(total: int, weights: list[float]) -> None:
    shares = split_channels(total, weights)
    assert sum(shares) == total
    assert all(abs(s - total * w / sum(weights)) < 1 for s, w in zip(shares, weights, strict=True))


def test_silu_equals_its_formula() -> None:
    assert SiLU()(torch.tensor([-1.0, 0.0, 2.0])).tolist() == pytest.approx([-0.2689414, 0.0, 1.7615942])


def test_funnel_activation_is_the_larger_of_input_and_its_neighbourhood() -> None:
    funnel = FReLU(1).eval()
    nn.init.constant_(funnel.conv.weight, 1.0)
    out = funnel(torch.tensor([[[[-1.0, 2.0, -4.0]]]])).flatten().tolist()
    assert out == pytest.approx([1.0, 2.0, -2.0], abs=1e-2)  # sums of neighbours: 1, -3, -2


@pytest.mark.parametrize("beta, expected", [(0.0, [-1.5, 0.0, 3.0]), (1e3, [-1.0, 0.0, 4.0])])
def test_acon_goes_from_the_mean_of_two_slopes_to_their_maximum(beta: float, expected: list[float]) -> None:
    activation = AconC(1)
    for parameter, value in zip(activation.parameters(), (2.0, 1.0, beta), strict=True):
        nn.init.constant_(parameter, value)
    x = torch.tensor([-1.0, 0.0, 2.0]).view(1, 1, 1, 3)
    assert activation(x).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("bias, beta", [(0.0, 0.5), (100.0, 1.0)])
def test_meta_acon_reads_its_switch_from_two_convolutions_of_the_mean(bias: float, beta: float) -> None:
    activation = MetaAconC(1)
    for parameter in (activation.fc1.weight, activation.fc1.bias, activation.fc2.weight):
        nn.init.zeros_(parameter)
    for parameter, value in ((activation.p1, 3.0), (activation.p2, 1.0), (activation.fc2.bias, bias)):
        nn.init.constant_(parameter, value)
    assert activation(torch.ones(1, 1, 2, 2)).mean().item() == pytest.approx(1 + 2 / (1 + math.exp(-2 * beta)))


def test_in_place_activation_leaves_its_input_alone_while_gradients_are_recorded() -> None:
    x = torch.ones(3)
    SiLU()(x)
    assert x.tolist() == [1.0] * 3
    with torch.no_grad():
        SiLU(inplace=False)(x)
        assert x.tolist() == [1.0] * 3
        SiLU()(x)
    assert x.tolist() != [1.0] * 3


@pytest.mark.parametrize("name", [info.name for info in pkgutil.iter_modules(onelook.models.__path__)])
def test_examples_in_the_documentation_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"onelook.models.{name}")).failed == 0
