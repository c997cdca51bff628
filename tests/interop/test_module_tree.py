"""Modules and tensors of a pickled model have the names of its state dictionary; trees that are none are refused."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
import torch
from pickles import made, module, program, text, value
from torch import nn

from onelook.errors import CheckpointError
from onelook.interop.module_tree import MAX_DEPTH, MAX_PARTS, walk
from onelook.interop.pickle_machine import read_pickle
from onelook.interop.plain_values import plain
from onelook.interop.records import Record


def pickled(content: nn.Module) -> Record:
    """What is read of a module that torch writes."""
    file = io.BytesIO()
    torch.save(content, file)
    with zipfile.ZipFile(file) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        record = read_pickle(archive.read(name))
    assert isinstance(record, Record)
    return record


def test_names_are_those_of_the_state_dictionary() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Sequential(nn.BatchNorm2d(4), nn.SiLU()))
    network[0].register_buffer("kept", torch.ones(2))
    network[0].register_buffer("cache", torch.ones(2), persistent=False)
    network[0].register_buffer("nothing", None)
    tree = walk(pickled(network))
    assert {name: record.size for name, record in tree.tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in network.state_dict().items()
    }
    assert set(tree.modules) == {name for name, _ in network.named_modules() if name}
    assert tree.modules["1.0"].kind.path == "torch.nn.modules.batchnorm.BatchNorm2d"


def test_a_shared_module_counts_at_each_place() -> None:
    shared = nn.Linear(2, 2)
    assert len(walk(pickled(nn.Sequential(shared, nn.Sequential(shared)))).tensors) == 4


def nested(depth: int) -> bytes:
    innermost = module("a.B")
    for _ in range(depth):
        innermost = module("a.B", modules={"m": innermost})
    return innermost


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (nested(MAX_DEPTH + 2), f"deeper than {MAX_DEPTH}"),
        (module("a.B", modules={"m" * 65: module("a.B")}), "`_modules` of an object of `a.B`"),
        (module("a.B", parameters={"a.b": None}), "`_parameters` of an object of `a.B`"),
        (module("a.B", buffers={1: None}), "`_buffers` of an object of `a.B`"),
        (module("a.B", buffers={str(i): None for i in range(MAX_PARTS + 1)}), "is not a dictionary of 0 to 1000 names"),
        (module("a.B", modules={"m": made("c.D", [])}), "`m._parameters` of an object of `c.D`"),
        (module("a.B", parameters={"w": text("x")}), "tensor `w` is `x`"),
        (module("a.B", modules={"\x1b[2J": 3}), r"module `\x1b[2J` is `3`"),
        (made("a.B"), "`_parameters` of an object of `a.B`"),
    ],
)  # fmt: skip
def test_what_is_no_tree_of_modules_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        walk(read_pickle(program(content)))
    assert says in caught.value.message


def test_the_deepest_tree_is_read() -> None:
    assert len(walk(read_pickle(program(nested(MAX_DEPTH)))).modules) == MAX_DEPTH


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([[[[[[[1]]]]]]], "nested deeper than 6"),
        ([0] * 100_001, "more than 100000 values"),
        ({"a": made("a.B")}, "the table has an object of `a.B`"),
        (["x" * 201], "the table has the text `xxx"),
        (["a\nb"], r"the table has the text `a\x0ab`"),
    ],
)  # fmt: skip
def test_settings_of_a_pickle_are_plain_and_few(content: Any, says: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        plain(read_pickle(program(value(content))), "the table")
    assert says in caught.value.message


def test_plain_values_are_copied_and_tuples_become_lists() -> None:
    given = {"a": (1, [2.5, None, True, "x"]), 3: {}}
    copied = plain(given, "the table")
    assert copied == {"a": [1, [2.5, None, True, "x"]], 3: {}} and copied[3] is not given[3]
