"""Shapes by rule are those that torch finds."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows

from onelook.models.shape_rules import ShapeRules


def test_shapes_by_rule_are_those_of_torch() -> None:
    x, y, row = (torch.empty(shape, device="meta") for shape in ((2, 3, 4, 5), (2, 7, 4, 5), (1, 3, 1, 1)))
    kernels, stretched = torch.empty(6, 3, 3, 2, device="meta"), torch.empty(9, 1, 3, 3, device="meta")
    operations = (
        lambda: F.conv2d(x, kernels),
        lambda: F.conv2d(x, kernels, None, (2, 1), (1, 0), (1, 2)),
        lambda: F.conv2d(x, stretched, padding=1, stride=2, groups=3),
        lambda: F.conv2d(x, stretched, padding="same", groups=3),
        lambda: F.conv2d(x[0], kernels),
        lambda: F.max_pool2d(x, 2),
        lambda: F.max_pool2d(x, (3, 2), stride=(2, 1), padding=(1, 0)),
        lambda: F.max_pool2d(x, 3, 1, dilation=2, padding=1),
        lambda: F.max_pool2d(x, 2, 2, ceil_mode=True),
        lambda: F.max_pool2d(x, 2, return_indices=True)[0],
        lambda: F.max_pool2d(x[0], 2),
        lambda: F.interpolate(x, scale_factor=2.0, mode="nearest"),
        lambda: F.interpolate(x, scale_factor=1.3),
        lambda: F.interpolate(x, size=(3, 3)),
        lambda: F.interpolate(x, scale_factor=(2.0, 1.5), mode="bilinear"),
        lambda: torch.cat((x, y), dim=1),
        lambda: torch.cat([x, y], -3),
        lambda: torch.cat((x, x)),
        lambda: x + x,
        lambda: row + x,
        lambda: F.silu(x),
    )
    expected = [operation().shape for operation in operations]
    with ShapeRules():
        assert [operation().shape for operation in operations] == expected
        mistakes = (
            lambda: F.conv2d(y, kernels),
            lambda: F.conv2d(x, kernels, dilation=9),
            lambda: F.max_pool2d(x, 9),
            lambda: F.interpolate(x, scale_factor=0.1),
            lambda: F.max_pool2d(x, 2, padding=2),
            lambda: torch.cat((x, y)),
            lambda: torch.cat((x, x), 4),
            lambda: x + y,
        )
        for wrong in mistakes:
            with pytest.raises((RuntimeError, IndexError)):
                wrong()
