"""Whatever stands in a definition: a model, or a ModelError; never another exception, never a large allocation."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onelook.errors import ModelError
from onelook.models.blocks import BLOCKS
from onelook.models.detector import create_model

BASE: dict[str, Any] = {
    "nc": 2,
    "anchors": [[8, 8], [16, 16]],
    "backbone": [
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 2, "C3", [16]],
        [-1, 1, "Conv", [24, 3, 2]],
        [-1, 1, "SPPF", [24, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 1], 1, "Concat", [1]],
        [[5, 3], 1, "Detect", ["nc", "anchors"]],
    ],
}
KEYS = [*BASE, "depth_multiple", "width_multiple", "channel_multiple", "ch", "activation", "inplace", "unknown"]

numbers = st.one_of(
    st.integers(-3, 40),
    st.sampled_from([0, 1, 2, 3, 255, 8192, 10**6, 2**31, 2**63, 10**30]),
    st.floats(),
    st.booleans(),
)
words = st.sampled_from(
    ["None", "nc", "anchors", "nearest", "True", "nn.ReLU()", "Conv", "", "x" * 500, "1", "eval('1')"]
)
values = st.recursive(st.one_of(st.none(), numbers, words), lambda inner: st.lists(inner, max_size=4), max_leaves=8)
blocks = st.sampled_from(sorted(BLOCKS))
rows = st.one_of(
    values,
    st.tuples(
        st.one_of(st.integers(-3, 4), st.lists(st.integers(-3, 4), max_size=3)),
        st.integers(0, 4),
        blocks,
        st.lists(st.one_of(st.integers(1, 16), values), max_size=5),
    ).map(list),
)


def build(definition: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = create_model(definition)
        model(torch.zeros(1, model.definition["ch"], 256, 256))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=100)
@given(part=st.sampled_from(["backbone", "head"]), position=st.integers(0, 3), row=rows)
def test_a_row_of_any_content_gives_a_model_or_a_model_error(part: str, position: int, row: Any) -> None:
    definition = copy.deepcopy(BASE)
    target = definition[part]
    target[position % len(target)] = row
    try:
        build(definition)
    except ModelError as problem:
        assert len(str(problem)) < 2000


@settings(max_examples=100)
@given(key=st.sampled_from(KEYS), value=values)
def test_a_key_of_any_value_gives_a_model_or_a_model_error(key: str, value: Any) -> None:
    try:
        build({**BASE, key: value})
    except ModelError as problem:
        assert len(str(problem)) < 2000


def test_the_unchanged_definition_gives_a_model() -> None:
    build(BASE)
