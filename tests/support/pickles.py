"""Pickles put together operation by operation, so that tests can make what no honest program writes."""

from __future__ import annotations

import struct
from typing import Any

PROTOCOL = b"\x80\x02"
STOP = b"."


def program(*parts: bytes) -> bytes:
    """A whole pickle of protocol 2 that leaves what `parts` leave."""
    return PROTOCOL + b"".join(parts) + STOP


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    length = (value.bit_length() + 8) // 8
    return b"\x8a" + bytes([length]) + value.to_bytes(length, "little", signed=True)


def blob(data: bytes) -> bytes:
    """Bytes as a value."""
    return b"B" + struct.pack("<I", len(data)) + data


def value(given: Any) -> bytes:
    """A plain value; bytes stand for themselves, as operations."""
    if isinstance(given, bytes):
        return given
    if given is None or isinstance(given, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[given]
    if isinstance(given, int):
        return number(given)
    if isinstance(given, float):
        return b"G" + struct.pack(">d", given)
    if isinstance(given, str):
        return text(given)
    if isinstance(given, tuple):
        return b"(" + b"".join(map(value, given)) + b"t"
    if isinstance(given, list):
        return b"](" + b"".join(map(value, given)) + b"e"
    if isinstance(given, dict):
        return b"}(" + b"".join(value(part) for pair in given.items() for part in pair) + b"u"
    raise TypeError(given)


def named(path: str) -> bytes:
    module, _, name = path.rpartition(".")
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def call(path: str | bytes, *arguments: Any) -> bytes:
    """The call of a function: what a pickle does to run code."""
    return (named(path) if isinstance(path, str) else path) + value(arguments) + b"R"


def made(path: str, state: Any = None, arguments: tuple[Any, ...] = ()) -> bytes:
    """An object of a class, with its state."""
    build = b"" if state is None else value(state) + b"b"
    return named(path) + value(arguments) + b"\x81" + build


def storage(key: str, count: int, kind: str = "torch.HalfStorage") -> bytes:
    return value(("storage", named(kind), key, "cpu", count)) + b"Q"


def tensor(
    key: str, size: tuple[int, ...], stride: tuple[int, ...], *, count: int = 0, offset: int = 0, kind: str = ""
) -> bytes:
    """A view of the storage `key`, which holds `count` numbers; the size decides if that is 0."""
    filled = count or (size[0] if size else 1)
    place = storage(key, filled, kind or "torch.HalfStorage")
    return call("torch._utils._rebuild_tensor_v2", place, offset, size, stride, False, value({}))


def module(path: str, *, parameters: Any = None, buffers: Any = None, modules: Any = None, **state: Any) -> bytes:
    """A torch module."""
    parts = {"_parameters": parameters or {}, "_buffers": buffers or {}, "_modules": modules or {}}
    return made(path, {**parts, **state})


def checkpoint(model: bytes, **others: Any) -> bytes:
    """The pickle of a checkpoint around a model."""
    return program(value({"epoch": -1, "model": model, "ema": None, **others}))
