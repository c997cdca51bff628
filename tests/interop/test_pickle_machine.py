"""Pickles of Python's own writer come out as they went in; classes and functions become names."""

from __future__ import annotations

import collections
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickles import blob, call, made, named, program, text, value

from onelook.errors import CheckpointError
from onelook.interop.pickle_machine import INERT_CALLS, read_pickle
from onelook.interop.records import Global, Record

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
)
KEYS = st.text(max_size=8) | st.integers(-1000, 1000)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.lists(inner, max_size=5).map(tuple),
    max_leaves=30,
)


@given(VALUES, st.sampled_from([2, 3, 4]))
@settings(max_examples=50)
def test_plain_values_come_out_as_they_went_in(content: Any, protocol: int) -> None:
    pickled = pickle.dumps(content, protocol=protocol)
    is_called = any(name in pickled for name in (b"_codecs", b"__builtin__"))  # how protocol 2 writes bytes
    assert is_called or read_pickle(pickled) == content


def test_what_hangs_at_several_places_is_one_object() -> None:
    shared = [1]
    one, two, ring = read_pickle(pickle.dumps([shared, shared, [shared]], protocol=4))
    assert one is two is ring[0]
    loop: list[Any] = []
    loop.append((loop, loop))
    read = read_pickle(pickle.dumps(loop, protocol=2))
    assert read[0][0] is read


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_ordered_dictionaries_and_sets_become_plain_ones(protocol: int) -> None:
    content = {"o": collections.OrderedDict([("b", 1), ("a", 2)]), "s": {5}, "f": frozenset([6])}
    if protocol < 4:
        content["f"] = 0  # a call that no checkpoint needs
    read = read_pickle(pickle.dumps(content, protocol=protocol))
    assert list(read["o"].items()) == [("b", 1), ("a", 2)] and read["s"] == [5] and read["f"] in (0, [6])


def test_an_object_becomes_a_record_with_its_state() -> None:
    record = read_pickle(program(made("models.common.Conv", {"i": 3, "act": made("torch.nn.SiLU")})))
    assert isinstance(record, Record) and record.kind == Global("models.common", "Conv") and record.args == ()
    assert record.attribute("i") == 3 and record.attribute("f") is None
    assert str(record.attribute("act").kind) == "torch.nn.SiLU" and record.attribute("act").state is None


def test_scores_and_options_of_a_checkpoint_become_records() -> None:
    read = read_pickle(pickle.dumps({"best_fitness": np.array([0.5])}, protocol=2))
    assert read["best_fitness"].kind.name == "_reconstruct"
    assert read["best_fitness"].state[-1].kind.path == "_codecs.encode"
    for path in INERT_CALLS:
        assert read_pickle(program(call(path, "a"))).args == ("a",)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "begins with the bytes"),
        (b"\x80\x05N.", "begins with the bytes 80 05 4e 2e"),
        (b"\x80\x02N", "wants 1 bytes and is cut off"),
        (program(b"NN"), "ends with 2 values on its stack"),
        (program(), "ends with 0 values on its stack"),
        (program(b"(N"), "ends with 1 values"),
        (program(b"N") + b"N", "and 1 bytes to come"),
        (program(b"N.", named("os.system")), "bytes to come"),
        (program(b"0"), "takes a value from an empty stack"),
        (program(b"N(0"), "takes a value from an empty stack"),
        (program(b"N(\x85"), "takes 1 values from a stack of fewer"),
        (program(b"t"), "looks for a mark"),
        (program(b"h\x05"), "refers to value 5"),
        (program(b"N", b"q\x00", b"0q\x01"), "takes a value from an empty stack"),
        (program(b"\xff"), "the operation 0xff"),
        (program(b"2"), "the operation DUP"),
        (program(b"K"), "cut off"),
        (program(value(1), value(2), b"a"), "appends to `1`"),
        (program(b"N(", value(1), b"e"), "appends to `None`"),
        (program(value({}), b"(", value("a"), b"u"), "sets items of a dict from 1 values"),
        (program(value({}), value(1.5), value(1), b"s"), "has `1.5` as the key"),
        (program(value([]), value("a"), value(1), b"s"), "sets items of a list"),
        (program(named("collections.OrderedDict"), value([]), b"R"), "gives a list as arguments"),
        (program(call("collections.OrderedDict", [("a", 1)])), "an ordered dictionary is made from 1 arguments"),
        (program(call("builtins.set", "abc")), "a set is made from 1 arguments"),
        (program(call("torch._utils._rebuild_parameter", 1)), "a parameter is made from 1 arguments"),
        (program(text("os"), value(1), b"\x93"), "names `os` and `1` as a class"),
        (program(text("o" * 200), text("s" * 200), b"\x93"), "as a class"),
        (program(b"cos\nsystem"), "without an end"),
    ],
)
def test_a_broken_pickle_is_refused_with_its_place(data: bytes, says: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_pickle(data)
    assert says in caught.value.message


def test_texts_that_are_not_unicode_are_read_with_marks_in_their_place() -> None:
    assert read_pickle(program(b"X\x03\0\0\0a\xffb")) == "a\N{REPLACEMENT CHARACTER}b"
    assert read_pickle(program(blob(b"\xff"))) == b"\xff"
