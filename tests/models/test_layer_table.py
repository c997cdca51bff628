"""Layer tables: what rows mean, and what is said when a row cannot be used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from onelook.errors import ModelError
from onelook.models.detector import create_model

STEM: list[Any] = [-1, 1, "Conv", [16, 3, 2]]


def table(*rows: list[Any], **keys: Any) -> dict[str, Any]:
    """A stem of stride 2, the given rows, and a head of one map on the last of them."""
    head = [[[len(rows)], 1, "Detect", ["nc", "anchors"]]]
    return {"nc": 2, "anchors": [[8, 8, 16, 16]], "backbone": [STEM, *rows], "head": head, **keys}


def row_of(*rows: list[Any], **keys: Any) -> nn.Module:
    """The module that the last of the rows before the head becomes."""
    return create_model(table(*rows, **keys)).model[-2]


ROWS: dict[str, tuple[list[Any], int]] = {
    "Conv": ([-1, 1, "Conv", [24, 3, 2]], 4),
    "Conv with padding as text": ([-1, 1, "Conv", [24, 3, 1, "None", 1, 1, False]], 2),
    "Conv with an activation": ([-1, 1, "Conv", [24, 1, 1, None, 1, 1, "nn.LeakyReLU(0.1)"]], 2),
    "DWConv": ([-1, 1, "DWConv", [32, 3, 2]], 4),
    "DWConvTranspose2d": ([-1, 1, "DWConvTranspose2d", [16, 2, 2]], 1),
    "nn.ConvTranspose2d": ([-1, 1, "nn.ConvTranspose2d", [16, 2, 2, 0]], 1),
    "Focus": ([-1, 1, "Focus", [24, 3]], 4),
    "GhostConv": ([-1, 1, "GhostConv", [24, 3, 2]], 4),
    "GhostBottleneck": ([-1, 1, "GhostBottleneck", [24, 3, 2]], 4),
    "CrossConv": ([-1, 2, "CrossConv", [16, 3, 1, 1, 1.0, True]], 2),
    "MixConv2d": ([-1, 1, "MixConv2d", [24, [1, 3, 5], 2, False]], 4),
    "Bottleneck": ([-1, 3, "Bottleneck", [16, False, 1, 0.25]], 2),
    "BottleneckCSP": ([-1, 2, "BottleneckCSP", [24, False]], 2),
    "C3": ([-1, 2, "C3", [24, False]], 2),
    "C3x": ([-1, 2, "C3x", [24]], 2),
    "C3TR": ([-1, 2, "C3TR", [24, False]], 2),
    "C3SPP": ([-1, 1, "C3SPP", [24, [3, 5]]], 2),
    "C3Ghost": ([-1, 2, "C3Ghost", [24, False]], 2),
    "TransformerBlock": ([-1, 1, "TransformerBlock", [32, 4, 2]], 2),
    "SPP": ([-1, 1, "SPP", [24, [5, 9]]], 2),
    "SPPF": ([-1, 1, "SPPF", [24, 5]], 2),
    "Contract": ([-1, 1, "Contract", [2]], 4),
    "Expand": ([-1, 1, "Expand", [2]], 1),
    "Concat": ([[-1, 0], 1, "Concat", [1]], 2),
    "Sum": ([[-1, 0], 1, "Sum", [2, True]], 2),
    "nn.Upsample": ([-1, 1, "nn.Upsample", ["None", 2, "nearest"]], 1),
    "nn.MaxPool2d": ([-1, 1, "nn.MaxPool2d", [2, 2, 0]], 4),
    "nn.AvgPool2d": ([-1, 1, "nn.AvgPool2d", [2]], 4),
    "nn.BatchNorm2d": ([-1, 1, "nn.BatchNorm2d", []], 2),
    "nn.Identity": ([-1, 1, "nn.Identity", []], 2),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_block_can_stand_in_a_table(name: str) -> None:
    row, stride = ROWS[name]
    model = create_model(table([-1, 1, "nn.Identity", []], row)).eval()
    assert model.stride_px == (stride,)
    with torch.no_grad():
        (raw,) = model(torch.zeros(2, 3, 64, 64))
    assert tuple(raw.shape) == (2, 2, 64 // stride, 64 // stride, 7)


@pytest.mark.parametrize(
    "given, depth, expected",
    [(1, 0.33, 1), (3, 0.33, 1), (9, 0.33, 3), (6, 0.33, 2), (3, 0.5, 2), (5, 0.5, 2), (3, 1.33, 4), (2, 0.1, 1)],
)
def test_repeats_are_scaled_and_rounded_half_to_even(given: int, depth: float, expected: int) -> None:
    assert len(row_of([-1, given, "C3", [16]], depth_multiple=depth).m) == expected
    outside = row_of([-1, given, "Bottleneck", [16]], depth_multiple=depth)
    assert (len(outside) if isinstance(outside, nn.Sequential) else 1) == expected


@pytest.mark.parametrize(
    "given, width, expected",
    [(64, 0.25, 16), (64, 0.3, 24), (20, 1.0, 24), (14, 0.5, 14), (8, 0.01, 8)],
    ids=["exact", "rounded up", "multiple of 8", "width of a head output is kept", "never 0"],
)
def test_widths_are_scaled_and_rounded_up_to_a_multiple_of_8(given: int, width: float, expected: int) -> None:
    assert row_of([-1, 1, "Conv", [given]], width_multiple=width).conv.out_channels == expected


def test_rows_may_read_any_earlier_row_and_the_image_is_the_row_before_the_first() -> None:
    rows = [[-1, 1, "Conv", [8, 1]], [0, 1, "Conv", [32, 1]], [-2, 1, "Conv", [24, 1]], [[1, -2, -1], 1, "Concat", [1]]]
    model = create_model(table(*rows))
    assert [plan.sources for plan in model.plans] == [(-1,), (0,), (0,), (1,), (1, 2, 3), (4,)]
    assert model.plans[4].channels_out == 8 + 32 + 24


BAD_ROWS: dict[str, tuple[list[Any], str]] = {
    "unknown block": (
        [-1, 1, "Convv", [16]],
        "model row 1 (Convv): there is no such block\nhint: did you mean `Conv`?",
    ),
    "block from elsewhere": ([-1, 1, "os.system", ["id"]], "model row 1 (os.system): there is no such block"),
    "not a row": ([-1, 1, "Conv"], "row 1: `[-1, 1, 'Conv']` is not a row"),
    "later source": ([1, 1, "Conv", [16]], "model row 1 (Conv): `from` is 1, which is not an earlier row"),
    "source before the image": ([-3, 1, "Conv", [16]], "`from` is -3, which is not an earlier row"),
    "image as a late source": ([-2, 1, "Conv", [16]], "`from` is -2, which is not an earlier row"),
    "source as text": (["x", 1, "Conv", [16]], "`from` is `x`"),
    "source as yes or no": ([True, 1, "Conv", [16]], "`from` is `True`"),
    "no source": ([[], 1, "Concat", [1]], "`from` names 0 rows"),
    "two sources for one": ([[-1, 0], 1, "Conv", [16]], "takes one map\nhint: join maps by Concat or Sum"),
    "repeats 0": ([-1, 0, "Conv", [16]], "`repeats` is `0`"),
    "repeats as a fraction": ([-1, 1.5, "Conv", [16]], "`repeats` is `1.5`"),
    "repeated join": ([[-1, 0], 2, "Concat", [1]], "cannot be repeated"),
    "too many blocks": ([-1, 1000, "Bottleneck", [16]], "model row 1: more than 1000 blocks"),
    "too many layers": ([-1, 11, "TransformerBlock", [16, 4, 100]], "model row 1: more than 1000 blocks"),
    "no width": ([-1, 1, "Conv", []], "the width is `None`"),
    "width as text": ([-1, 1, "Conv", ["16"]], "the width is `16`"),
    "negative width": ([-1, 1, "Conv", [-16]], "the width is `-16`"),
    "huge width": ([-1, 1, "Conv", [8193]], "expected a whole number from 1 to 8192"),
    "too many arguments": (
        [-1, 1, "SPPF", [16, 5, 1]],
        "(SPPF): 2 arguments where at most 1 fit\nhint: they are: kernel",
    ),
    "missing argument": ([-1, 1, "nn.MaxPool2d", []], "(nn.MaxPool2d): argument `kernel_size` is missing"),
    "kernel 0": ([-1, 1, "Conv", [16, 0]], "argument `kernel` is `0`"),
    "kernel as text": ([-1, 1, "Conv", [16, "three"]], "argument `kernel` is `three`"),
    "huge kernel": ([-1, 1, "Conv", [16, 10**9]], "argument `kernel` is `1000000000`"),
    "yes or no as a number": ([-1, 1, "Conv", [16, True]], "argument `kernel` is `True`"),
    "number as yes or no": ([-1, 1, "C3", [16, 1]], "argument `shortcut` is `1`\nhint: expected True or False"),
    "code as text": ([-1, 1, "Conv", [16, "__import__('os').system('id')"]], "argument `kernel` is `__import__"),
    "code as activation": (
        [-1, 1, "Conv", [16, 1, 1, None, 1, 1, "exit()"]],
        "activation `exit()` is not known\nhint: use one of SiLU",
    ),
    "not a number": ([-1, 1, "C3", [16, True, 1, float("nan")]], "argument `expansion` is `nan`"),
    "infinite": ([-1, 1, "C3", [16, True, 1, float("inf")]], "argument `expansion` is `inf`"),
    "unknown mode": ([-1, 1, "nn.Upsample", [None, 2, "best"]], "argument `mode` is `best`"),
    "groups that do not divide": ([-1, 1, "Conv", [16, 1, 1, None, 3]], "model row 1 (Conv): in_channels must be"),
    "heads that do not divide": ([-1, 1, "TransformerBlock", [16, 3]], "model row 1 (TransformerBlock):"),
    "repeat that changes channels": (
        [-1, 2, "Contract", [2]],
        "model row 1 (Contract) gives 256 channels instead of 64",
    ),
    "odd size": ([-1, 1, "Conv", [16, 3, 3]], "model row 1: a 256 px image becomes 43 x 43 cells"),
    "maps of unequal size": (
        [[-1, 0], 1, "Sum", [3]],
        "model row 1 (Sum): argument `num_inputs` is 3, but `from` names 2 rows",
    ),
    "two heads": ([[-1], 1, "Detect", ["nc", "anchors"]], "model row 2 (Detect): rows after the head"),
    "head without its words": ([[-1], 1, "Detect", [80, [[1, 2]]]], "hint: write [nc, anchors, ...]"),
    "classifier before the head": ([-1, 1, "Classify", ["nc"]], "model row 1 gives no map that the head could read"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_row_that_cannot_be_used_is_named_with_its_value(name: str) -> None:
    row, message = BAD_ROWS[name]
    with pytest.raises(ModelError) as caught:
        create_model(table(row))
    assert message in str(caught.value)


def test_maps_that_do_not_fit_are_named_with_their_shapes() -> None:
    with pytest.raises(ModelError, match=r"model row 2 \(Concat\) cannot take maps of shape .*64, 64.*128, 128"):
        create_model(table([-1, 1, "Conv", [16, 3, 2]], [[-1, 0], 1, "Concat", [1]]))


BAD_KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "typing error": ({"dept_multiple": 1}, "key `dept_multiple` is not known\nhint: did you mean `depth_multiple`?"),
    "no classes": ({"nc": 0}, "`nc: 0`\nhint: expected a whole number from 1"),
    "classes as text": ({"nc": "80"}, "`nc: 80`"),
    "depth 0": ({"depth_multiple": 0}, "`depth_multiple: 0`"),
    "huge width": ({"width_multiple": 1e9}, "`width_multiple: 1000000000.0`"),
    "scaled too wide": ({"width_multiple": 16, "backbone": [[-1, 1, "Conv", [8192, 3, 2]]]}, "131072 channels"),
    "odd anchors": ({"anchors": [[1, 2, 3]]}, "the rows of `anchors` have [3] numbers"),
    "uneven anchors": ({"anchors": [[1, 2, 3, 4], [1, 2]]}, "the rows of `anchors` have [2, 4] numbers"),
    "anchor of width 0": ({"anchors": [[0, 2]]}, "`anchors: [[0, 2]]`"),
    "anchors for too many maps": ({"anchors": [[1, 2], [3, 4]]}, "`anchors` has 2 rows for a head of 1 map"),
    "unknown activation": ({"activation": "nn.Swish()"}, "activation `nn.Swish()` is not known"),
    "argument of an activation": ({"activation": "nn.ReLU(0.1)"}, "`0.1` is not accepted\nhint: it takes inplace"),
    "no head": ({"head": []}, "the last row of the model is `Conv`\nhint: end with Detect"),
    "no rows": ({"head": [], "backbone": []}, "has 0 rows"),
    "head is no list": ({"head": {"a": 1}}, "expected a list of rows"),
    "too many rows": ({"backbone": [STEM] * 1001}, "has 1002 rows"),
    "too large": (
        {"backbone": [STEM, *[[-1, 1, "Conv", [8192, 5]]] * 2], "head": [[[2], 1, "Detect", ["nc", "anchors"]]]},
        "parameters\nhint: at most 1000000000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_KEYS)
def test_a_key_that_cannot_be_used_is_named_with_its_value(name: str) -> None:
    keys, message = BAD_KEYS[name]
    with pytest.raises(ModelError) as caught:
        create_model(table(**keys))
    assert message in str(caught.value)


@pytest.mark.parametrize("key", ["nc", "backbone", "head"])
def test_a_missing_key_is_named(key: str) -> None:
    content = table()
    del content[key]
    with pytest.raises(ModelError, match=f"key `{key}` is missing"):
        create_model(content)
