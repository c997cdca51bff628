"""Files that want to harm: each is refused in a message that says what was found, nothing runs, memory stays small."""

from __future__ import annotations

import ast
import sys
import tracemalloc
from pathlib import Path

import hostile
import pytest
from pickles import program

from onelook import interop
from onelook.errors import CheckpointError
from onelook.interop.onnx_graph import read_onnx
from onelook.interop.pickle_machine import read_pickle
from onelook.interop.yolov5_weights import read_yolov5

CASES = hostile.everything()
MOST_BYTES_BESIDE_THE_FILE = 16 << 20


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_refused_and_does_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, says = CASES[name]
    path = tmp_path / "hostile.pt"
    path.write_bytes(data)
    monkeypatch.chdir(tmp_path)
    modules = set(sys.modules)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            read_yolov5(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert says in caught.value.message, caught.value.message
    assert caught.value.message.startswith(f"weights `{path}` cannot be used: ") and caught.value.hint
    assert len(caught.value.message) < len(str(path)) + 400 and caught.value.message.isprintable()
    assert peak < 3 * len(data) + MOST_BYTES_BESIDE_THE_FILE
    assert [entry.name for entry in tmp_path.iterdir()] == ["hostile.pt"], "something ran"
    assert not {"antigravity", "runpy"} & (set(sys.modules) - modules), "something was imported"


def test_there_are_enough_of_them() -> None:
    assert len(hostile.calls()) >= 30 and len(CASES) >= 100


def test_the_work_that_a_pickle_may_ask_for_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    data = program(b"}0" * 300)
    with pytest.raises(CheckpointError, match="more than 500 operations"):
        monkeypatch.setattr("onelook.interop.pickle_machine.MAX_OPERATIONS", 500)
        read_pickle(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "filling",
    [b"}", b"]\x94", b"c\n\n\x94", b"\x8f", b"c\n\n)\x81", b"K\1\x94"],
    ids=["dictionaries", "stored lists", "names", "sets", "objects", "memo"],
)
def test_the_memory_that_a_pickle_can_fill_is_limited(filling: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="more than 1000000 operations"):
            read_pickle(program(filling * 1_000_000))
        assert tracemalloc.get_traced_memory()[1] < 256 << 20
    finally:
        tracemalloc.stop()


def test_the_work_that_an_onnx_file_may_ask_for_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.onnx"
    monkeypatch.setattr("onelook.interop.protobuf.MAX_FIELDS", 500)
    for num_graphs in (1, 2, 300):
        nodes = b"\x0a\x00" * (600 // num_graphs)  # empty ones, field 1 of a graph, which is field 7 of the model
        length = bytes([len(nodes) & 0x7F | 0x80, len(nodes) >> 7])
        path.write_bytes((b"\x3a" + length + nodes) * num_graphs)
        with pytest.raises(CheckpointError, match="more than 500 fields"):
            read_onnx(path)


@pytest.mark.slow
@pytest.mark.parametrize("num_graphs", [1, 2, 50_000])
def test_the_memory_that_an_onnx_file_can_fill_is_limited(num_graphs: int, tmp_path: Path) -> None:
    nodes = b"\x0a\x00" * (900_000 // num_graphs)  # empty ones, field 1 of a graph, which is field 7 of the model
    length = bytes([len(nodes) & 0x7F | 0x80, len(nodes) >> 7 & 0x7F | 0x80, len(nodes) >> 14])
    path = tmp_path / "many.onnx"
    path.write_bytes((b"\x3a" + length + nodes) * num_graphs)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="more than 200000 fields"):
            read_onnx(path)
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()


def onnx_file(path: Path, tensor: bytes) -> Path:
    """A model, field 7 a graph of a node with one output, field 1, and a tensor, field 5."""
    graph = b"\x0a\x03\x12\x01x\x2a" + bytes([len(tensor)]) + tensor
    path.write_bytes(b"\x3a" + bytes([len(graph)]) + graph)
    return path


MINUS_ONE = b"\xff" * 9 + b"\x01"


def test_whole_numbers_below_0_are_read_from_an_onnx_file(tmp_path: Path) -> None:
    tensor = b"\x08\x02\x10\x07" + b"\x3a\x0b\x03" + MINUS_ONE + b"\x42\x01s"  # 2 of them, of int64: 3, -1; called s
    assert read_onnx(onnx_file(tmp_path / "a.onnx", tensor)).weights["s"].tolist() == [3, -1]


@pytest.mark.parametrize(
    "shape",
    [
        b"\x08" + MINUS_ONE,
        b"\x08\x00\x08" + MINUS_ONE,
        b"\x08\x00" + (b"\x08" + b"\xff" * 8 + b"\x7f") * 2,
        b"\x08\x00" * 9,
    ],
    ids=["-1", "0 and -1", "0 and twice 2^63 - 1", "nine sides"],
)
def test_a_tensor_of_an_onnx_file_with_an_impossible_shape_is_refused(shape: bytes, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="its tensor `s` has the shape"):
        read_onnx(onnx_file(tmp_path / "a.onnx", shape + b"\x10\x01\x42\x01s"))


ALLOWED = {
    "__future__", "collections", "collections.abc", "contextlib", "dataclasses", "functools", "io",
    "itertools", "math", "os", "pathlib", "pickletools", "stat", "struct", "torch", "typing",
    "zlib",
}  # fmt: skip
BANNED = {"torch.load", "pickle.load", "pickle.loads", "__import__", "eval", "exec", "compile", "setattr"}


@pytest.mark.parametrize("path", sorted(Path(interop.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_the_reader_has_nothing_that_could_load_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            assert module is not None and (module in ALLOWED or module.startswith("onelook."))
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"torch.load", "pickle.load", "__import__", "eval", "exec", "compile", "setattr"}, (
                called
            )
