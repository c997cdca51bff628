"""Reads a pickle as data: a machine for the few operations that a checkpoint needs, which can call nothing.

Names of classes and functions become `Global`s, objects become `Record`s. The operations are those of protocols 2 to 4
as the documentation of Python's `pickletools` describes them. Sets become lists: hashing what a stranger chose would
let the file decide how much work that is. Every loop runs once per operation, and their number is limited.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from onelook.errors import CheckpointError
from onelook.interop.records import Global, Record, described, storage_record, tensor_record

MAX_BYTES = 16 << 20
MAX_OPERATIONS = 1_000_000
MAX_DEPTH = 1000
MAX_INTEGER_BYTES = 8
MAX_NAME_BYTES = 256
HINT_CODE = "no checkpoint needs this: get the file from a source you trust, and do not open it elsewhere"

INERT_CALLS = frozenset(
    {
        "_codecs.encode", "copyreg._reconstructor", "copy_reg._reconstructor",
        "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar", "numpy.dtype",
        "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
        "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath",
        "pathlib._local.PosixPath", "pathlib._local.WindowsPath", "torch.device", "torch.Size",
    }
)  # fmt: skip
"""Calls that occur in what a checkpoint keeps beside its model: scores, options, paths. Not made; a record remains."""


def read_pickle(data: bytes | bytearray) -> Any:
    """What a pickle holds: plain values, lists, dictionaries, and records.

    Raises:
        CheckpointError: it is broken, larger than a checkpoint's, or wants to do something; the message lacks the name
            of the file.
    """
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"its pickle has {len(data)} bytes, more than the limit of {MAX_BYTES}")
    return _Machine(bytes(data)).run()


class _Machine:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        version = self._data[1] if self._data[:1] == b"\x80" and len(self._data) > 1 else None
        if version not in (2, 3, 4):
            raise CheckpointError(f"its pickle begins with the bytes {self._data[:4].hex(' ')}, not as protocol 2 to 4")
        self._offset = 2
        for _ in range(MAX_OPERATIONS):
            operation = self._take(1)[0]
            if operation == _STOP:
                return self._end()
            if operation not in _OPERATIONS:
                name = _NAMES.get(chr(operation), f"{operation:#04x}")
                self._fail(f"has the operation {name}, which no checkpoint of PyTorch has")
            act, *given = _OPERATIONS[operation]
            act(self, *given)
        raise CheckpointError(f"its pickle has more than {MAX_OPERATIONS} operations")

    def _end(self) -> Any:
        rest = len(self._data) - self._offset
        if len(self._stack) != 1 or self._marks or rest:
            self._fail(f"ends with {len(self._stack)} values on its stack and {rest} bytes to come")
        return self._stack[0]

    def _fail(self, what: str, hint: str | None = None) -> NoReturn:
        raise CheckpointError(f"its pickle, at byte {self._offset}, {what}", hint=hint)

    def _take(self, length: int) -> bytes:
        if length > len(self._data) - self._offset:
            raise CheckpointError(f"its pickle, at byte {self._offset}, wants {length} bytes and is cut off")
        self._offset += length
        return self._data[self._offset - length : self._offset]

    def _length(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little")

    def _top(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            self._fail("takes a value from an empty stack")
        return self._stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _pop_many(self, count: int) -> tuple[Any, ...]:
        if len(self._stack) - count < (self._marks[-1] if self._marks else 0):
            self._fail(f"takes {count} values from a stack of fewer")
        taken = tuple(self._stack[len(self._stack) - count :])
        del self._stack[len(self._stack) - count :]
        return taken

    def _pop_to_mark(self) -> list[Any]:
        if not self._marks:
            self._fail("looks for a mark that is not there")
        start = self._marks.pop()
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _pop_global(self, use: str) -> Global:
        value = self._pop()
        if not isinstance(value, Global):
            self._fail(f"{use} {described(value)}", HINT_CODE)
        return value

    def _pop_args(self) -> tuple[Any, ...]:
        value = self._pop()
        if not isinstance(value, tuple):
            self._fail(f"gives {described(value)} as arguments")
        return value

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _new(self, kind: type) -> None:
        self._stack.append(kind())

    def _number(self, number: struct.Struct) -> None:
        self._stack.append(number.unpack(self._take(number.size))[0])

    def _text(self, size: int) -> None:
        self._stack.append(str(self._take(self._length(size)), "utf-8", "replace"))

    def _bytes(self, size: int) -> None:
        self._stack.append(self._take(self._length(size)))

    def _tuple(self, count: int) -> None:
        self._stack.append(self._pop_many(count))

    def _gather(self, kind: Callable[[list[Any]], Any]) -> None:
        """All values since the mark as one."""
        self._stack.append(kind(self._pop_to_mark()))

    def _mark(self) -> None:
        if len(self._marks) >= MAX_DEPTH:
            self._fail(f"is nested deeper than {MAX_DEPTH}")
        self._marks.append(len(self._stack))

    def _put(self, size: int) -> None:
        self._memo[self._length(size)] = self._top()

    def _get(self, size: int) -> None:
        key = self._length(size)
        if key not in self._memo:
            self._fail(f"refers to value {key}, which it has not stored")
        self._stack.append(self._memo[key])

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._top()

    def _long(self, size: int) -> None:
        length = self._length(size)
        if length > MAX_INTEGER_BYTES:
            self._fail(f"has an integer of {length} bytes, more than {MAX_INTEGER_BYTES}")
        self._stack.append(int.from_bytes(self._take(length), "little", signed=True))

    def _frame(self) -> None:
        length = self._length(8)
        if length > len(self._data) - self._offset:
            self._fail(f"claims a frame of {length} bytes and is cut off")

    def _global(self) -> None:
        names = []
        for _ in range(2):
            end = self._data.find(b"\n", self._offset, self._offset + MAX_NAME_BYTES + 1)
            if end < 0:
                self._fail(f"has a name of more than {MAX_NAME_BYTES} bytes or without an end")
            names.append(str(self._take(end + 1 - self._offset)[:-1], "utf-8", "replace"))
        self._stack.append(Global(*names))

    def _stack_global(self) -> None:
        module, name = self._pop_many(2)
        if not (isinstance(module, str) and isinstance(name, str)) or len(module) + len(name) > MAX_NAME_BYTES:
            self._fail(f"names {described(module)} and {described(name)} as a class")
        self._stack.append(Global(module, name))

    def _persistent(self) -> None:
        self._stack.append(self._located(storage_record, self._pop()))

    def _new_object(self) -> None:
        args = self._pop_args()
        self._stack.append(Record(self._pop_global("makes an object of"), args))

    def _new_object_with_keywords(self) -> None:
        keywords = self._pop()
        args = self._pop_args()
        self._stack.append(Record(self._pop_global("makes an object of"), (args, keywords)))

    def _reduce(self) -> None:
        args = self._pop_args()
        called = self._pop_global("calls")
        stand_in = _STAND_INS.get(called.path)
        if stand_in is not None:
            self._stack.append(self._located(stand_in, args))
        elif called.path in INERT_CALLS:
            self._stack.append(Record(called, args))
        else:
            self._fail(f"wants to call `{called}`; nothing was called", HINT_CODE)

    def _located(self, read: Callable[[Any], Any], given: Any) -> Any:
        try:
            return read(given)
        except CheckpointError as problem:
            raise CheckpointError(f"its pickle, at byte {self._offset}: {problem.message}") from problem

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Record) and target.state is None:
            target.state = state
        elif not (isinstance(target, dict) and isinstance(state, dict)):  # an ordered dictionary may carry attributes
            self._fail(f"sets the state of {described(target)}", HINT_CODE)

    def _extend(self, count: int | None = None) -> None:
        """Append the last `count` values, or all since the mark, to the list before them."""
        items = self._pop_to_mark() if count is None else self._pop_many(count)
        target = self._top()
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Record):
            self._fail(f"appends to {described(target)}")

    def _update(self, count: int | None = None) -> None:
        """Put the last `count` values, or all since the mark, into the dictionary before them, by two."""
        items = self._pop_to_mark() if count is None else self._pop_many(count)
        target = self._top()
        if len(items) % 2 or not isinstance(target, dict | Record):
            self._fail(f"sets items of {described(target)} from {len(items)} values")
        if isinstance(target, Record):
            return
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                self._fail(f"has {described(key)} as the key of a dictionary")
            target[key] = value


def _ordered_dictionary(args: tuple[Any, ...]) -> dict[Any, Any]:
    if args:
        raise CheckpointError(f"an ordered dictionary is made from {len(args)} arguments")
    return {}


def _set(args: tuple[Any, ...]) -> Any:
    if len(args) != 1 or not isinstance(args[0], list):
        raise CheckpointError(f"a set is made from {len(args)} arguments")
    return args[0]  # no copy: the same list may be named a hundred thousand times


def _parameter(args: tuple[Any, ...]) -> Any:
    if not 3 <= len(args) <= 4:
        raise CheckpointError(f"a parameter is made from {len(args)} arguments")
    return args[0]


_STAND_INS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _ordered_dictionary,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_tensor_v2": tensor_record,
}
"""Calls that are needed, and what is done instead."""

_STOP = ord(".")
_NAMES = {operation.code: operation.name for operation in pickletools.opcodes}
_OPERATIONS: dict[int, tuple[Any, ...]] = {
    ord("N"): (_Machine._push, None),
    0x88: (_Machine._push, True),
    0x89: (_Machine._push, False),
    ord("J"): (_Machine._number, struct.Struct("<i")),
    ord("K"): (_Machine._number, struct.Struct("<B")),
    ord("M"): (_Machine._number, struct.Struct("<H")),
    ord("G"): (_Machine._number, struct.Struct(">d")),
    0x8A: (_Machine._long, 1),
    0x8B: (_Machine._long, 4),
    0x8C: (_Machine._text, 1),
    ord("X"): (_Machine._text, 4),
    0x8D: (_Machine._text, 8),
    ord("C"): (_Machine._bytes, 1),
    ord("B"): (_Machine._bytes, 4),
    0x8E: (_Machine._bytes, 8),
    ord(")"): (_Machine._tuple, 0),
    0x85: (_Machine._tuple, 1),
    0x86: (_Machine._tuple, 2),
    0x87: (_Machine._tuple, 3),
    ord("t"): (_Machine._gather, tuple),
    ord("]"): (_Machine._new, list),
    ord("a"): (_Machine._extend, 1),
    ord("e"): (_Machine._extend,),
    ord("}"): (_Machine._new, dict),
    ord("s"): (_Machine._update, 2),
    ord("u"): (_Machine._update,),
    0x8F: (_Machine._new, list),
    0x90: (_Machine._extend,),
    0x91: (_Machine._gather, list),
    ord("("): (_Machine._mark,),
    ord("0"): (_Machine._pop,),
    ord("1"): (_Machine._pop_to_mark,),
    ord("q"): (_Machine._put, 1),
    ord("r"): (_Machine._put, 4),
    0x94: (_Machine._memoize,),
    ord("h"): (_Machine._get, 1),
    ord("j"): (_Machine._get, 4),
    ord("c"): (_Machine._global,),
    0x93: (_Machine._stack_global,),
    0x81: (_Machine._new_object,),
    0x92: (_Machine._new_object_with_keywords,),
    ord("R"): (_Machine._reduce,),
    ord("b"): (_Machine._build,),
    ord("Q"): (_Machine._persistent,),
    0x95: (_Machine._frame,),
}
"""Operation -> what does it, and what that is given."""
