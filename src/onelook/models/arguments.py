"""The arguments of a table row: a small vocabulary, and a range for every number. Nothing is evaluated."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from torch import nn

from onelook.errors import ModelError
from onelook.models.activations import parse_activation

WORDS = {"None": None, "True": True, "False": False}
UPSAMPLE_MODES = ("nearest", "nearest-exact", "bilinear", "bicubic")
MAX_CHANNELS = 8192
MAX_KERNEL = 64


@dataclass(frozen=True)
class Rule:
    """What an argument may be: a test and the same in words."""

    accepts: Callable[[Any], bool]
    expected: str


def whole(low: int, high: int) -> Rule:
    """A whole number from `low` to `high`."""
    return Rule(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        f"a whole number from {low} to {high}",
    )


def number(low: float, high: float) -> Rule:
    """A finite number above `low`, at most `high`."""
    return Rule(
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low < value <= high,
        f"a number above {low:g}, at most {high:g}",
    )


def several(rule: Rule, low: int, high: int) -> Rule:
    """A list of `low` to `high` values that `rule` accepts."""
    return Rule(
        lambda value: isinstance(value, list) and low <= len(value) <= high and all(map(rule.accepts, value)),
        f"a list of {low if low == high else f'{low} to {high}'} values, each {rule.expected}",
    )


def either(*rules: Rule) -> Rule:
    """Whatever one of the rules accepts."""
    return Rule(lambda value: any(rule.accepts(value) for rule in rules), ", or ".join(rule.expected for rule in rules))


NOTHING = Rule(lambda value: value is None, "None")
FLAG = Rule(lambda value: isinstance(value, bool), "True or False")
ACTIVATION = Rule(lambda value: isinstance(value, bool) or callable(value), "True, False or an activation")
MODE = Rule(lambda value: value in UPSAMPLE_MODES, f"one of {', '.join(UPSAMPLE_MODES)}")
SIZE = either(whole(1, MAX_KERNEL), several(whole(1, MAX_KERNEL), 2, 2))
PADDING = either(NOTHING, whole(0, MAX_KERNEL), several(whole(0, MAX_KERNEL), 2, 4))

ARGUMENTS: dict[str, Rule] = {
    "kernel": SIZE,
    "kernel_size": SIZE,
    "kernels": several(whole(1, MAX_KERNEL), 1, 8),
    "stride": SIZE,
    "padding": PADDING,
    "output_padding": PADDING,
    "dilation": whole(1, MAX_KERNEL),
    "groups": whole(1, MAX_CHANNELS),
    "activation": ACTIVATION,
    "shortcut": FLAG,
    "expansion": number(0, 8),
    "equal": FLAG,
    "weighted": FLAG,
    "heads": whole(1, 64),
    "layers": whole(1, 100),
    "dimension": whole(1, 1),
    "gain": whole(1, 32),
    "num_inputs": whole(1, 64),
    "num_masks": whole(1, MAX_CHANNELS),
    "num_prototype_channels": whole(1, MAX_CHANNELS),
    "hidden_width": whole(1, MAX_CHANNELS),
    "depthwise": FLAG,
    "one_to_one": FLAG,
    "box_width": whole(1, MAX_CHANNELS),
    "class_width": whole(1, MAX_CHANNELS),
    "size": either(NOTHING, whole(1, 4096), several(whole(1, 4096), 2, 2)),
    "scale_factor": either(NOTHING, number(0, 32)),
    "mode": MODE,
}
"""Every argument that a table may give, by the parameter name of the block."""

FILLED_IN = frozenset(
    {
        "channels_in",
        "channels_out",
        "in_channels",
        "out_channels",
        "num_features",
        "repeats",
        "num_classes",
        "num_anchors",
    }
)
"""Parameters that the table fills in, which a row does not give."""


def bind_arguments(block: type[nn.Module], values: Sequence[Any]) -> dict[str, Any]:
    """The `values` of a row by the parameter names of `block`, checked; in the order of the parameters.

    Raises:
        ModelError: too many or too few values, or one out of range; the message does not say where.

    >>> from onelook.models.convolutions import Conv
    >>> bind_arguments(Conv, [3, 2])
    {'kernel': 3, 'stride': 2}
    """
    open_to_rows = [p for name, p in inspect.signature(block).parameters.items() if name not in FILLED_IN]
    parameters = list(takewhile(lambda parameter: parameter.name in ARGUMENTS, open_to_rows))
    if len(values) > len(parameters):
        names = ", ".join(parameter.name for parameter in parameters) or "none"
        raise ModelError(f"{len(values)} arguments where at most {len(parameters)} fit", hint=f"they are: {names}")
    missing = [p.name for p in parameters[len(values) :] if p.default is inspect.Parameter.empty]
    if missing:
        raise ModelError(f"argument `{missing[0]}` is missing", hint=f"expected {ARGUMENTS[missing[0]].expected}")
    return {p.name: _checked(p.name, value) for p, value in zip(parameters, values, strict=False)}


def _checked(name: str, value: Any) -> Any:
    if isinstance(value, str) and name != "mode" and value in WORDS:
        value = WORDS[value]
    elif isinstance(value, str) and name == "activation":
        value = parse_activation(value)
    if (isinstance(value, float) and not math.isfinite(value)) or not ARGUMENTS[name].accepts(value):
        raise ModelError(f"argument `{name}` is `{shortened(value)}`", hint=f"expected {ARGUMENTS[name].expected}")
    return tuple(value) if isinstance(value, list) else value


def shortened(value: Any) -> str:
    """`value` for a message, at most 80 characters of it."""
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
