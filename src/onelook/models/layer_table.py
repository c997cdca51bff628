"""Rows of a model definition -> modules. Every problem is a ModelError that names the row; nothing is evaluated."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from onelook.errors import ModelError, counted
from onelook.models.activations import parse_activation
from onelook.models.arguments import MAX_CHANNELS, bind_arguments
from onelook.models.blocks import ANCHOR_HEADS, BLOCKS, HEADS, JOINING_BLOCKS, REPEATING_BLOCKS, WIDTH_BLOCKS
from onelook.models.convolutions import Conv
from onelook.models.definition import ANCHORS, Definition
from onelook.models.shape_rules import ShapeRules
from onelook.settings.nearest_name import nearest_name

MAX_REPEATS = 1000
SECOND_BRANCH = "one_to_one"
_BEFORE_ARGUMENTS = 1
"""The word `nc`, which every head without anchors starts with."""
IMAGE = -1
"""The source that stands for the image, where other sources are row numbers."""


@dataclass(frozen=True)
class LayerPlan:
    """One row, understood.

    Attributes:
        row: number, from 0.
        sources: rows whose outputs it takes; `IMAGE` is the image.
        block: name in `BLOCKS`.
        repeats: how often the whole block is repeated in series.
        positional: first arguments of the constructor: the channels in, and for most blocks the channels out.
        keywords: keyword arguments of the constructor.
        channels_out: channels of its output; 0 for a head.
    """

    row: int
    sources: tuple[int, ...]
    block: str
    repeats: int
    positional: tuple[Any, ...]
    keywords: dict[str, Any]
    channels_out: int


def plan_layers(definition: Definition) -> tuple[LayerPlan, ...]:
    """All rows of `definition`, understood and checked; nothing is allocated.

    Raises:
        ModelError: a row names an unknown block, a source that is not there, or arguments that do not fit.
    """
    plans: list[LayerPlan] = []
    total_repeats = 0
    for row, content in enumerate([*definition.backbone, *definition.head]):
        try:
            plan = _plan_row(row, content, definition, plans)
        except ModelError as problem:
            raise ModelError(f"model row {row} ({content[2][:60]}): {problem.message}", hint=problem.hint) from problem
        total_repeats += plan.repeats * plan.keywords.get("repeats", 1) * plan.keywords.get("layers", 1)
        if total_repeats > MAX_REPEATS:
            raise ModelError(f"model row {row}: more than {MAX_REPEATS} blocks, repeats counted")
        plans.append(plan)
    return tuple(plans)


def with_second_branch(definition: Definition, wanted: bool) -> Definition:
    """`definition` with a head with or without a second branch; unchanged if its head has no such option."""
    if not definition.head or definition.head[-1][2] not in BLOCKS:
        return definition
    source, repeats, block, given = definition.head[-1]
    every = inspect.signature(BLOCKS[block]).parameters.values()
    parameters = [each for each in every if each.kind is each.KEYWORD_ONLY and each.name != "num_classes"]
    names = [parameter.name for parameter in parameters]
    if SECOND_BRANCH not in names:
        return definition
    number = names.index(SECOND_BRANCH)
    defaults = [parameter.default for parameter in parameters[len(given) - _BEFORE_ARGUMENTS : number]]
    arguments = [*given[_BEFORE_ARGUMENTS:], *defaults]
    arguments[number : number + 1] = [wanted]
    row = [source, repeats, block, [*given[:_BEFORE_ARGUMENTS], *arguments]]
    return replace(definition, head=[*definition.head[:-1], row])


def build_layers(plans: Sequence[LayerPlan], *, activation: str, inplace: bool) -> nn.Sequential:
    """The modules of `plans`, one child per row, on the default device.

    Raises:
        ModelError: a constructor refuses its arguments.
    """
    layers = nn.Sequential()
    for plan in plans:
        try:
            repeated = [BLOCKS[plan.block](*plan.positional, **plan.keywords) for _ in range(plan.repeats)]
        except (ValueError, TypeError, RuntimeError, AssertionError, ZeroDivisionError, OverflowError) as problem:
            raise ModelError(f"model row {plan.row} ({plan.block}): {problem}") from problem
        layers.append(repeated[0] if plan.repeats == 1 else nn.Sequential(*repeated))
    if activation != "nn.SiLU()":
        _replace_activations(layers, activation)
    if not inplace:
        for module in layers.modules():
            if hasattr(module, "inplace"):
                setattr(module, "inplace", False)  # noqa: B010 - typed as a tensor or a module otherwise
    return layers


def gather_inputs(plan: LayerPlan, outputs: dict[int, Tensor]) -> Tensor | list[Tensor]:
    """The inputs of a row: one map, or a list of maps if its block joins several."""
    maps = [outputs[source] for source in plan.sources]
    return maps if plan.block in JOINING_BLOCKS else maps[0]


def last_uses(plans: Sequence[LayerPlan]) -> tuple[tuple[int, ...], ...]:
    """For each row, the outputs that no later row needs: they can be freed once it has run."""
    last = {source: plan.row for plan in plans for source in plan.sources}
    for plan in plans:
        last.setdefault(plan.row, plan.row)
    final = len(plans) - 1
    return tuple(tuple(s for s, row in last.items() if row == plan.row and s != final) for plan in plans)


def trace_shapes(layers: nn.Sequential, plans: Sequence[LayerPlan], image: Tensor) -> list[torch.Size]:
    """Output shapes of all rows but a head, found by running them; use it on the meta device, where it costs nothing.

    Raises:
        ModelError: maps do not fit together; the message names the row.
    """
    outputs = {IMAGE: image}
    for plan, layer in zip(plans, layers, strict=True):
        if plan.block in HEADS:
            break
        try:
            with ShapeRules():
                outputs[plan.row] = layer(gather_inputs(plan, outputs))
        except (RuntimeError, ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as problem:
            shapes = ", ".join(str(tuple(outputs[source].shape)) for source in plan.sources)
            reason = str(problem).partition("\n")[0]
            raise ModelError(
                f"model row {plan.row} ({plan.block}) cannot take maps of shape {shapes}: {reason}",
                hint="maps that are joined need equal height and width",
            ) from problem
        if outputs[plan.row].shape[1] != plan.channels_out:
            raise ModelError(
                f"model row {plan.row} ({plan.block}) gives {outputs[plan.row].shape[1]} channels instead of "
                f"{plan.channels_out}",
                hint="this block cannot be repeated, or cannot split its channels like this",
            )
    return [outputs[row].shape for row in range(len(outputs) - 1)]


def _plan_row(row: int, content: list[Any], definition: Definition, plans: list[LayerPlan]) -> LayerPlan:
    source_given, repeats_given, block, arguments = content
    if block not in BLOCKS:
        raise ModelError("there is no such block", hint=nearest_name(block, BLOCKS))
    sources = _sources(row, source_given)
    if plans and plans[-1].block in HEADS:
        raise ModelError("rows after the head would have no effect", hint="the head is the last row")
    if len(sources) > 1 and block not in JOINING_BLOCKS:
        raise ModelError(f"`from` is {list(sources)}, but this block takes one map", hint="join maps by Concat or Sum")
    channels = [definition.channels if source == IMAGE else plans[source].channels_out for source in sources]
    repeats = _scaled_repeats(repeats_given, definition.depth_multiple)
    positional, keywords, channels_out = _channels(block, arguments, channels, definition)
    if block in REPEATING_BLOCKS:
        keywords["repeats"] = repeats
        repeats = 1
    if repeats > 1 and block in JOINING_BLOCKS:
        raise ModelError(f"`repeats` is {repeats}, but a block that joins maps cannot be repeated", hint="write 1")
    if channels_out > MAX_CHANNELS:
        raise ModelError(f"{channels_out} channels", hint=f"at most {MAX_CHANNELS} are accepted")
    return LayerPlan(row, sources, block, repeats, positional, keywords, channels_out)


def _sources(row: int, given: Any) -> tuple[int, ...]:
    listed = given if isinstance(given, list) else [given]
    resolved = []
    for source in listed:
        if not isinstance(source, int) or isinstance(source, bool):
            raise ModelError(f"`from` is `{str(source)[:60]}`", hint="write a row number, or -1 for the row before")
        absolute = source if source >= 0 else row + source
        if absolute >= row or absolute < (IMAGE if row == 0 else 0):
            raise ModelError(
                f"`from` is {source}, which is not an earlier row", hint=f"rows 0 to {row - 1} come before"
            )
        resolved.append(absolute)
    if not 1 <= len(resolved) <= 64:
        raise ModelError(f"`from` names {len(resolved)} rows", hint="name 1 to 64")
    return tuple(resolved)


def _scaled_repeats(given: Any, depth_multiple: float) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= MAX_REPEATS:
        raise ModelError(f"`repeats` is `{str(given)[:60]}`", hint=f"expected a whole number from 1 to {MAX_REPEATS}")
    return max(round(given * depth_multiple), 1) if given > 1 else given


def _channels(
    block: str, arguments: list[Any], channels: list[int], definition: Definition
) -> tuple[tuple[Any, ...], dict[str, Any], int]:
    """First constructor arguments, the others by name, and the channels out."""
    if block in WIDTH_BLOCKS:
        width = _scaled_width(arguments[0] if arguments else None, definition)
        return (channels[0], width), bind_arguments(BLOCKS[block], arguments[1:]), width
    if block in HEADS:
        return _head(block, arguments, channels, definition)
    if block == "Classify":
        _expect_words(arguments[:1], ["nc"])
        keywords = bind_arguments(BLOCKS[block], arguments[1:])
        return (channels[0], definition.num_classes), keywords, definition.num_classes
    keywords = bind_arguments(BLOCKS[block], arguments)
    if block == "Proto":
        return (channels[0],), keywords, keywords.get("num_masks", 32)
    if block == "nn.BatchNorm2d":
        return (channels[0],), {"eps": 1e-3, "momentum": 0.03}, channels[0]
    if block == "Concat":
        return (), keywords, sum(channels)
    if block == "Sum" and keywords["num_inputs"] != len(channels):
        raise ModelError(
            f"argument `num_inputs` is {keywords['num_inputs']}, but `from` names {counted(len(channels), 'row')}"
        )
    gain = keywords.get("gain", 2)
    channels_out = {"Contract": channels[0] * gain**2, "Expand": channels[0] // gain**2}.get(block, channels[0])
    return (), keywords, channels_out


def _scaled_width(given: Any, definition: Definition) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= MAX_CHANNELS:
        raise ModelError(f"the width is `{str(given)[:60]}`", hint=f"expected a whole number from 1 to {MAX_CHANNELS}")
    if definition.num_anchors and given == definition.num_anchors * (definition.num_classes + 5):
        return given  # the width of a head's output is never scaled, wherever it stands: part of the format
    multiple = definition.channel_multiple
    return math.ceil(given * definition.width_multiple / multiple) * multiple


def _head(
    block: str, arguments: list[Any], channels: list[int], definition: Definition
) -> tuple[tuple[Any, ...], dict[str, Any], int]:
    if block not in ANCHOR_HEADS:
        return _anchor_free_head(block, arguments, channels, definition)
    _expect_words(arguments[:2], ["nc", "anchors"])
    if definition.anchors is None:
        raise ModelError("the model has no `anchors`, which this head needs", hint=f"expected {ANCHORS.expected}")
    if not isinstance(definition.anchors, int) and len(definition.anchors) != len(channels):
        raise ModelError(
            f"`anchors` has {counted(len(definition.anchors), 'row')} for a head of {counted(len(channels), 'map')}",
            hint="give one row of anchors per map",
        )
    keywords = bind_arguments(BLOCKS[block], arguments[2:])
    if "num_prototype_channels" in keywords:
        keywords["num_prototype_channels"] = _scaled_width(keywords["num_prototype_channels"], definition)
    keywords |= {"num_classes": definition.num_classes, "num_anchors": definition.num_anchors}
    return (tuple(channels),), keywords, 0


def _anchor_free_head(
    block: str, arguments: list[Any], channels: list[int], definition: Definition
) -> tuple[tuple[Any, ...], dict[str, Any], int]:
    _expect_words(arguments[:1], ["nc"])
    if definition.anchors is not None:
        raise ModelError("this head has no use for `anchors`", hint="drop them, or end with Detect")
    keywords = bind_arguments(BLOCKS[block], arguments[1:])
    if "hidden_width" in keywords:
        keywords["hidden_width"] = _scaled_width(keywords["hidden_width"], definition)
    return (tuple(channels),), keywords | {"num_classes": definition.num_classes}, 0


def _expect_words(arguments: list[Any], words: list[str]) -> None:
    if arguments != words:
        raise ModelError(f"arguments start with `{str(arguments)[:60]}`", hint=f"write [{', '.join(words)}, ...]")


def _replace_activations(layers: nn.Module, text: str) -> None:
    make = parse_activation(text)
    for module in layers.modules():
        if isinstance(module, Conv) and isinstance(module.act, nn.SiLU):
            module.act = make(module.conv.out_channels)
