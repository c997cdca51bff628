"""The arguments of the last row of a model definition, where something else decides about them than its file."""

from __future__ import annotations

import inspect
from dataclasses import replace

from onelook.models.blocks import BLOCKS
from onelook.models.definition import Definition

SECOND_BRANCH = "one_to_one"
_BEFORE_ARGUMENTS = 1
"""The word `nc`, which every head without anchors starts with."""


def with_second_branch(definition: Definition, wanted: bool) -> Definition:
    """`definition`, whose head has a second branch or not; as it is if its head knows no such thing."""
    if not definition.head or definition.head[-1][2] not in BLOCKS:
        return definition
    source, repeats, block, given = definition.head[-1]
    parameters = [p for p in inspect.signature(BLOCKS[block]).parameters.values() if p.kind is p.KEYWORD_ONLY]
    names = [parameter.name for parameter in parameters if parameter.name != "num_classes"]
    if SECOND_BRANCH not in names:
        return definition
    defaults = [parameter.default for parameter in parameters if parameter.name != "num_classes"]
    number = names.index(SECOND_BRANCH)
    arguments = [*given[_BEFORE_ARGUMENTS:], *defaults[len(given) - _BEFORE_ARGUMENTS : number]]
    arguments[number : number + 1] = [wanted]
    row = [source, repeats, block, [*given[:_BEFORE_ARGUMENTS], *arguments]]
    return replace(definition, head=[*definition.head[:-1], row])
