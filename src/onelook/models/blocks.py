"""The blocks that a model definition may name. Where they live: one file per subject beside this one."""

from __future__ import annotations

from torch import nn

from onelook.models.attention import TransformerBlock
from onelook.models.bottlenecks import C3, C3DS, C3SPP, C3TR, Bottleneck, BottleneckCSP, C3Ghost, C3x, GhostBottleneck
from onelook.models.classify import Classify
from onelook.models.convolutions import Conv, CrossConv, DSConv, DWConv, DWConvTranspose2d, Focus, GhostConv, MixConv2d
from onelook.models.decoupled_head import YoloX
from onelook.models.distance_head import DistanceHead
from onelook.models.heads import Detect, Proto, Segment
from onelook.models.pooling import SPP, SPPF
from onelook.models.reshaping import Concat, Contract, Expand, Sum

BLOCKS: dict[str, type[nn.Module]] = {
    "Conv": Conv,
    "DWConv": DWConv,
    "DSConv": DSConv,
    "DWConvTranspose2d": DWConvTranspose2d,
    "Focus": Focus,
    "GhostConv": GhostConv,
    "CrossConv": CrossConv,
    "MixConv2d": MixConv2d,
    "Bottleneck": Bottleneck,
    "GhostBottleneck": GhostBottleneck,
    "BottleneckCSP": BottleneckCSP,
    "C3": C3,
    "C3DS": C3DS,
    "C3x": C3x,
    "C3TR": C3TR,
    "C3SPP": C3SPP,
    "C3Ghost": C3Ghost,
    "TransformerBlock": TransformerBlock,
    "SPP": SPP,
    "SPPF": SPPF,
    "Concat": Concat,
    "Sum": Sum,
    "Contract": Contract,
    "Expand": Expand,
    "Proto": Proto,
    "Classify": Classify,
    "Detect": Detect,
    "Segment": Segment,
    "YoloX": YoloX,
    "Look": DistanceHead,
    "nn.BatchNorm2d": nn.BatchNorm2d,
    "nn.ConvTranspose2d": nn.ConvTranspose2d,
    "nn.Upsample": nn.Upsample,
    "nn.MaxPool2d": nn.MaxPool2d,
    "nn.AvgPool2d": nn.AvgPool2d,
    "nn.ZeroPad2d": nn.ZeroPad2d,
    "nn.Identity": nn.Identity,
}

WIDTH_BLOCKS = frozenset(
    {
        "Conv", "DSConv", "DWConv", "DWConvTranspose2d", "Focus", "GhostConv", "CrossConv", "MixConv2d", "Bottleneck",
        "GhostBottleneck", "BottleneckCSP", "C3", "C3DS", "C3x", "C3TR", "C3SPP", "C3Ghost", "TransformerBlock", "SPP",
        "SPPF", "nn.ConvTranspose2d",
    }
)  # fmt: skip
"""Blocks built as (channels in, channels out, ...), whose first argument in a table is the width before scaling."""

REPEATING_BLOCKS = frozenset({"BottleneckCSP", "C3", "C3DS", "C3x", "C3TR", "C3Ghost"})
"""Blocks that repeat their inside; every other block is repeated as a whole."""

JOINING_BLOCKS = frozenset({"Concat", "Sum", "Detect", "Segment", "YoloX", "Look"})
"""Blocks that take several maps."""

ANCHOR_HEADS = frozenset({"Detect", "Segment"})
"""Blocks that end a detector and need anchors."""

HEADS = ANCHOR_HEADS | {"YoloX", "Look"}
"""Blocks that end a detector."""
