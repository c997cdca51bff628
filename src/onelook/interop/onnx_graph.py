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
from onelook.interop.protobuf import Value, fields, varints

MAX_BYTES = 1 << 30
MAX_NODES = 100_000
FLOAT, INT64 = 1, 7
_DTYPES = {FLOAT: torch.float32, INT64: torch.int64}


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        kind: such as `Conv`.
        inputs, outputs: names of tensors.
        numbers: attributes that are whole numbers, or lists of them.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class OnnxGraph:
    """A network.

    Attributes:
        nodes: in the order of the file.
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
        CheckpointError: it is damaged, too large, or keeps its weights elsewhere; the message lacks the file.
    """
    nodes: list[Node] = []
    weights: dict[str, Tensor] = {}
    inputs: dict[str, tuple[int, ...]] = {}
    for number, value in fields(memoryview(read_bounded(path, MAX_BYTES))):
        if number == 7:  # ModelProto.graph
            _read_graph(_message(value), nodes, weights, inputs)
    if not nodes:
        raise CheckpointError("it holds no network")
    return OnnxGraph(tuple(nodes), weights, inputs)


def onnx_metadata(path: Path) -> dict[str, str]:
    """What the maker of the file `path` noted in it; nothing if it is no ONNX file."""
    try:
        entries = [
            _message(value) for number, value in fields(memoryview(read_bounded(path, MAX_BYTES))) if number == 14
        ]
        return dict(_entry(entry) for entry in entries)
    except CheckpointError:
        return {}


def _entry(message: memoryview) -> tuple[str, str]:
    texts = {key: _text(text) for key, text in fields(message)}
    return texts.get(1, ""), texts.get(2, "")


def _read_graph(
    graph: memoryview, nodes: list[Node], weights: dict[str, Tensor], inputs: dict[str, tuple[int, ...]]
) -> None:
    for number, value in fields(graph):
        if number == 1:  # node
            nodes.append(_node(_message(value)))
            if len(nodes) > MAX_NODES:
                raise CheckpointError(f"it has more than {MAX_NODES} nodes")
        elif number == 5:  # initializer
            name, tensor = _tensor(_message(value))
            if tensor is not None:
                weights[name] = tensor
        elif number == 11:  # input
            name, shape = _value_info(_message(value))
            inputs[name] = shape


def _node(message: memoryview) -> Node:
    inputs, outputs, kind, numbers = [], [], "", {}
    for number, value in fields(message):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            kind = _text(value)
        elif number == 5:
            name, found = _attribute(_message(value))
            numbers[name] = found
    return Node(kind, tuple(inputs), tuple(outputs), numbers)


def _attribute(message: memoryview) -> tuple[str, tuple[int, ...]]:
    name, found = "", []
    for number, value in fields(message):
        if number == 1:
            name = _text(value)
        elif number in (3, 8):  # i, ints
            found += varints(value)
    return name, tuple(found)


def _tensor(message: memoryview) -> tuple[str, Tensor | None]:
    """Name and numbers; no numbers if they are of a type that no detector's weights have."""
    shape: list[int] = []
    kind, name, data = 0, "", memoryview(b"")
    singles: list[int] = []
    for number, value in fields(message):
        if number == 1:
            shape += varints(value)
        elif number == 2:
            kind = value if isinstance(value, int) else 0
        elif number == 4:  # float_data, packed
            data = _message(value)
        elif number == 7:
            singles += varints(value)
        elif number == 8:
            name = _text(value)
        elif number == 9:
            data = _message(value)
        elif number == 13:
            raise CheckpointError(f"its weights `{printable(name)}` are in another file", hint="give a whole file")
    dtype = _DTYPES.get(kind)
    if dtype is None:
        return name, None
    count = math.prod(shape)
    if singles and len(singles) == count:
        return name, torch.tensor(singles, dtype=dtype).view(shape)
    if len(data) != count * dtype.itemsize:
        raise CheckpointError(f"its tensor `{printable(name[:80])}` has {len(data)} bytes for {count} numbers")
    if count == 0:
        return name, torch.zeros(shape, dtype=dtype)
    return name, torch.frombuffer(bytearray(data), dtype=dtype).view(shape)


def _value_info(message: memoryview) -> tuple[str, tuple[int, ...]]:
    name, shape = "", []
    for number, value in fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:  # type -> tensor_type -> shape -> dim -> dim_value
            for dimension in _below(_message(value), 1, 2, 1):
                sizes = [size for key, size in fields(dimension) if key == 1 and isinstance(size, int)]
                shape.append(sizes[0] if sizes else 0)
    return name, tuple(shape)


def _below(message: memoryview, *path: int) -> list[memoryview]:
    """All messages that are reached by the field numbers `path`."""
    found = [message]
    for wanted in path:
        found = [_message(value) for one in found for number, value in fields(one) if number == wanted]
    return found


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise CheckpointError("it has a number where a message should be")
    return value


def _text(value: Value) -> str:
    return bytes(_message(value)).decode("utf-8", errors="replace")
