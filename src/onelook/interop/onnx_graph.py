"""An ONNX file as data: its nodes, and the weights that they name. Nothing is run, and no other file is opened.

Read without the package `onnx`, so that a training can start from such a file where only Onelook is installed: six
kinds of messages are enough. Field numbers are those of onnx.proto (ONNX, Apache-2.0).
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from onelook.errors import CheckpointError
from onelook.files.bounded import printable, read_bounded
from onelook.interop.protobuf import Message

MAX_BYTES = 1 << 31
"""Largest file, as that of `onelook export`; protocol buffers allow no more."""
MAX_SIDES = 8
FLOAT, INT64 = 1, 7
_DTYPES = {FLOAT: torch.float32, INT64: torch.int64}


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        kind: such as `Conv`.
        inputs, outputs: names of tensors; at least one output.
        numbers: attributes that are whole numbers, or lists of them; at least one number each.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class OnnxGraph:
    """A network.

    Attributes:
        weights: name -> numbers, float32 or int64.
        inputs: name -> shape of what is fed in; 0 where a side is free.
    """

    nodes: tuple[Node, ...]
    weights: dict[str, Tensor]
    inputs: dict[str, tuple[int, ...]]

    @cached_property
    def readers(self) -> dict[str, list[Node]]:
        """Tensor -> the nodes that read it."""
        found: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return found


def read_onnx(path: Path) -> OnnxGraph:
    """The graph in the file `path`.

    Raises:
        CheckpointError: it is damaged or keeps its weights elsewhere; the message lacks the file.
        DataError: it cannot be read, or is too large.
    """
    nodes: list[Node] = []
    weights: dict[str, Tensor] = {}
    inputs: dict[str, tuple[int, ...]] = {}
    for graph in _model(path).messages(7):
        nodes += [_node(node) for node in graph.messages(1)]
        for initializer in graph.messages(5):
            tensor = _tensor(initializer)
            if tensor is not None:
                weights[initializer.text(8)] = tensor
        inputs |= {source.text(1): _shape(source) for source in graph.messages(11)}
    if not nodes:
        raise CheckpointError("it holds no network")
    if not all(node.outputs for node in nodes):
        raise CheckpointError("it has an operation without a result")
    return OnnxGraph(tuple(nodes), weights, inputs)


def onnx_metadata(path: Path) -> dict[str, str]:
    """The metadata of the file `path`; none if it is no ONNX file.

    Raises:
        DataError: it cannot be read, or is too large.
    """
    try:
        return {entry.text(1): entry.text(2) for entry in _model(path).messages(14)}
    except CheckpointError:
        return {}


def _model(path: Path) -> Message:
    return Message(memoryview(read_bounded(path, MAX_BYTES)))


def _node(node: Message) -> Node:
    # i, ints
    numbers = {attribute.text(1): (*attribute.numbers(3), *attribute.numbers(8)) for attribute in node.messages(5)}
    given = {name: values for name, values in numbers.items() if values}
    return Node(node.text(4), tuple(node.texts(1)), tuple(node.texts(2)), given)


def _tensor(tensor: Message) -> Tensor | None:
    """The numbers of a tensor; None if they are of a type that no detector's weights have."""
    name, shape, kinds = tensor.text(8), tensor.numbers(1), tensor.numbers(2)
    if 13 in tensor:
        raise CheckpointError(f"its weights `{printable(name)}` are in another file", hint="give a whole file")
    dtype = _DTYPES.get(kinds[-1] if kinds else 0)
    if dtype is None:
        return None
    is_possible = len(shape) <= MAX_SIDES and min(shape, default=0) >= 0
    if not is_possible or math.prod(side or 1 for side in shape) > MAX_BYTES:
        raise CheckpointError(f"its tensor `{printable(name[:80])}` has the shape {tuple(shape[:MAX_SIDES])}")
    count, singles = math.prod(shape), tensor.numbers(7)
    if singles and len(singles) == count:
        return torch.tensor(singles, dtype=dtype).view(shape)
    data = bytearray().join(tensor.parts(9) or tensor.parts(4))  # raw, or packed floats
    if len(data) != count * dtype.itemsize:
        raise CheckpointError(f"its tensor `{printable(name[:80])}` has {len(data)} bytes for {count} numbers")
    if count == 0:
        return torch.zeros(shape, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype).view(shape)


def _shape(source: Message) -> tuple[int, ...]:
    """What is fed in: type -> tensor_type -> shape -> dim -> dim_value; 0 where a side is free."""
    return tuple((dimension.numbers(1) or [0])[0] for dimension in source.messages(2, 1, 2, 1))
