"""A model definition: the keys of a model YAML, checked. Its rows are read by `layer_table.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from onelook.errors import ModelError
from onelook.models.activations import parse_activation
from onelook.models.arguments import NOTHING, Rule, either, number, several, shortened, whole
from onelook.models.catalog import named_anchors
from onelook.settings.nearest_name import nearest_name

MAX_ROWS = 1000
MAX_ANCHORS = 20

Anchors = int | list[list[float]]
"""Anchors per map, or for each map a flat list w, h, w, h, ... in pixels."""

ANCHORS = either(whole(1, MAX_ANCHORS), several(several(number(0, 100_000), 2, 2 * MAX_ANCHORS), 1, 20))
KEYS: dict[str, Rule] = {
    "nc": whole(1, 65_536),
    "ch": whole(1, 1024),
    "depth_multiple": number(0, 16),
    "width_multiple": number(0, 16),
    "channel_multiple": whole(1, 1024),
    "anchors": either(ANCHORS, NOTHING),
    "activation": Rule(lambda value: isinstance(value, str), "text such as nn.LeakyReLU(0.1)"),
    "inplace": Rule(lambda value: isinstance(value, bool), "true or false"),
    "backbone": Rule(lambda value: isinstance(value, list), "a list of rows"),
    "head": Rule(lambda value: isinstance(value, list), "a list of rows"),
}
DEFAULTS: dict[str, Any] = {
    "ch": 3,
    "depth_multiple": 1.0,
    "width_multiple": 1.0,
    "channel_multiple": 8,
    "anchors": None,
    "activation": "nn.SiLU()",
    "inplace": True,
}


@dataclass(frozen=True)
class Definition:
    """What a model is made from.

    Attributes:
        num_classes: classes.
        channels: image channels.
        depth_multiple: factor on the repeats of a row.
        width_multiple: factor on the channels of a row.
        channel_multiple: channels are rounded up to a multiple of this.
        anchors: see `Anchors`; a number stands for anchors that are not fitted to any data yet, None for none.
        activation: activation of every convolution block, as text.
        inplace: whether activations may overwrite their input.
        backbone: rows `[from, repeats, block, arguments]`.
        head: more rows; they continue the count where the backbone stops.
    """

    num_classes: int
    channels: int
    depth_multiple: float
    width_multiple: float
    channel_multiple: int
    anchors: Anchors | None
    activation: str
    inplace: bool
    backbone: list[list[Any]]
    head: list[list[Any]]

    def __hash__(self) -> int:
        return hash(str(self.as_dict()))

    @property
    def num_anchors(self) -> int:
        """Anchors per cell of a map; 0 without any."""
        if self.anchors is None:
            return 0
        return self.anchors if isinstance(self.anchors, int) else len(self.anchors[0]) // 2

    def as_dict(self) -> dict[str, Any]:
        """The same under the keys of the YAML file; plain values only."""
        renamed = {"num_classes": "nc", "channels": "ch"}
        return {renamed.get(name, name): value for name, value in vars(self).items() if value is not None}


def read_definition(content: Mapping[str, Any], *, where: str, overrides: Mapping[str, Any]) -> Definition:
    """The definition that a YAML mapping holds.

    Args:
        content: keys `nc`, `backbone`, `head`, `anchors`, and optionally those of `DEFAULTS`.
        where: the file or name, for messages.
        overrides: values that replace those of `content`; None replaces nothing.

    Raises:
        ModelError: a key is unknown or missing, or its value impossible.
    """
    given = {**content, **{key: value for key, value in overrides.items() if value is not None}}
    for key in given:
        if key not in KEYS:
            raise ModelError(f"model `{where}`: key `{key}` is not known", hint=nearest_name(str(key), KEYS))
    values = {**DEFAULTS, **given}
    if isinstance(values.get("anchors"), str):
        values["anchors"] = named_anchors(values["anchors"])
    for key, rule in KEYS.items():
        if key not in values:
            raise ModelError(f"model `{where}`: key `{key}` is missing", hint=f"expected {rule.expected}")
        if not rule.accepts(values[key]):
            raise ModelError(f"model `{where}`: `{key}: {shortened(values[key])}`", hint=f"expected {rule.expected}")
    _check_anchors(values["anchors"], where)
    _check_rows([*values["backbone"], *values["head"]], where)
    parse_activation(values["activation"])
    plain = {key: deepcopy(value) for key, value in values.items() if key not in {"nc", "ch"}}
    return Definition(num_classes=values["nc"], channels=values["ch"], **plain)


def _check_anchors(anchors: Anchors | None, where: str) -> None:
    lengths = set() if anchors is None or isinstance(anchors, int) else {len(row) for row in anchors}
    if len(lengths) > 1 or any(length % 2 for length in lengths):
        raise ModelError(
            f"model `{where}`: the rows of `anchors` have {sorted(lengths)} numbers",
            hint="give the same number of width, height pairs in every row",
        )


def _check_rows(rows: Sequence[Any], where: str) -> None:
    if not 1 <= len(rows) <= MAX_ROWS:
        raise ModelError(f"model `{where}` has {len(rows)} rows", hint=f"1 to {MAX_ROWS} are accepted")
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 4 or not isinstance(row[2], str) or not isinstance(row[3], list):
            raise ModelError(
                f"model `{where}` row {i}: `{shortened(row)}` is not a row",
                hint="write [from, repeats, block, [arguments]]; rows count from 0, through backbone and head",
            )
