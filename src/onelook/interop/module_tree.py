"""The modules and tensors of a pickled model, by the names that its state has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onelook.errors import CheckpointError
from onelook.files.bounded import printable
from onelook.interop.records import Record, TensorRecord, described

MAX_MODULES = 10_000
MAX_PARTS = 1000
MAX_DEPTH = 32
MAX_NAME = 64


@dataclass(frozen=True)
class ModuleTree:
    """What a pickled model consists of.

    Attributes:
        modules: path such as `model.0.conv` -> module; the model itself is left out.
        tensors: name such as `model.0.conv.weight` -> tensor, as in its state dictionary.
    """

    modules: dict[str, Record]
    tensors: dict[str, TensorRecord]


def walk(model: Record) -> ModuleTree:
    """All modules and tensors below `model`; a module at several paths counts at each.

    Raises:
        CheckpointError: it is no tree of modules, or larger than any model.
    """
    tree = ModuleTree({}, {})
    waiting: list[tuple[str, int, Record]] = [("", 0, model)]
    while waiting:
        prefix, depth, module = waiting.pop()
        for name, tensor in _tensors(module, prefix):
            tree.tensors[name] = tensor
        for name, child in _entries(module, "_modules", prefix):
            if not isinstance(child, Record):
                raise CheckpointError(f"module `{printable(name)}` is {described(child)}")
            tree.modules[name] = child
            waiting.append((f"{name}.", depth + 1, child))
        if depth > MAX_DEPTH or max(len(tree.modules), len(tree.tensors)) > MAX_MODULES:
            raise CheckpointError(f"its model has more than {MAX_MODULES} modules, or is deeper than {MAX_DEPTH}")
    return tree


def _tensors(module: Record, prefix: str) -> list[tuple[str, TensorRecord]]:
    hidden = module.attribute("_non_persistent_buffers_set")
    hidden_names = {f"{prefix}{name}" for name in _short_texts(hidden)}
    found = []
    for group in ("_parameters", "_buffers"):
        for name, tensor in _entries(module, group, prefix):
            if group == "_buffers" and name in hidden_names:
                continue
            if not isinstance(tensor, TensorRecord):
                raise CheckpointError(f"tensor `{printable(name)}` is {described(tensor)}")
            found.append((name, tensor))
    return found


def _entries(module: Record, group: str, prefix: str) -> list[tuple[str, Any]]:
    """Full name and value of what a module registers under `group`; None is left out."""
    entries = module.attribute(group)
    if not isinstance(entries, dict) or len(_short_texts(entries)) != len(entries):
        where = f"`{printable(prefix[:200])}{group}` of an object of `{module.kind}`"
        raise CheckpointError(f"{where} is not a dictionary of 0 to {MAX_PARTS} names")
    return [(f"{prefix}{name}", value) for name, value in entries.items() if value is not None]


def _short_texts(names: Any) -> list[str]:
    """Those of `names` that a part of a module can have; none if there are more than any module has parts."""
    if not isinstance(names, list | dict) or len(names) > MAX_PARTS:
        return []
    return [name for name in names if isinstance(name, str) and len(name) <= MAX_NAME and "." not in name]
