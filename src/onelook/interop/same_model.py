"""Whether the modules of a foreign file compute what our model of its definition computes: part by part, no trust."""

from __future__ import annotations

from typing import Any

from torch import nn

from onelook.errors import CheckpointError
from onelook.files.bounded import printable
from onelook.interop.module_tree import ModuleTree
from onelook.interop.records import Record, described
from onelook.models.detector import DetectionModel

_SAME_CLASS = {"SyncBatchNorm": "BatchNorm2d", "MemoryEfficientMish": "Mish"}
_SAME_ATTRIBUTE = {
    "Bottleneck": {"add": "adds_input"},
    "CrossConv": {"add": "adds_input"},
    "Concat": {"d": "dimension"},
    "Detect": {"nc": "num_classes", "na": "num_anchors", "no": "num_outputs"},
}
"""Class -> its attributes in the file -> the same in our class."""

_SCALARS = (bool, int, float, str, type(None))
_WITHOUT_EFFECT = frozenset({"training", "inplace", "momentum"})
"""Attributes that do not change what a trained model computes."""

_RECOMPUTE = "recompute_scale_factor"


def check_same_model(skeleton: DetectionModel, tree: ModuleTree) -> None:
    """Compare every module of a file with that of our model at the same path; a meta model will do.

    Raises:
        CheckpointError: a module or tensor is missing, superfluous or different; it is named.
    """
    ours = {name: module for name, module in skeleton.named_modules(remove_duplicate=False) if name}
    for name in [*tree.modules, *ours]:
        if name not in ours:
            raise CheckpointError(
                f"module `{printable(name)}` (`{tree.modules[name].kind}`) is not part of the model's definition",
                hint="the model was changed in code; only what its definition says can be rebuilt",
            )
        if name not in tree.modules:
            raise CheckpointError(f"module `{name}` ({type(ours[name]).__name__}) is missing", hint=_fused_hint(name))
        _compare(name, tree.modules[name], ours[name])
    for plan in skeleton.plans:
        row = tree.modules[f"model.{plan.row}"]
        if _sources(row.attribute("f"), plan.row) != list(plan.sources):
            raise CheckpointError(f"row {plan.row} takes {described(row.attribute('f'))}, not what its definition says")
    _compare_tensors(skeleton, tree)


def _compare(name: str, record: Record, ours: nn.Module) -> None:
    kind = type(ours).__name__
    theirs = _SAME_CLASS.get(record.kind.name, record.kind.name)
    if theirs != kind:
        raise CheckpointError(
            f"module `{printable(name)}` is `{record.kind}`; by the model's definition it is {kind}",
            hint="the model was changed in code, or comes from another version; only its definition can be rebuilt",
        )
    pairs = dict(_SAME_ATTRIBUTE.get(kind, {}))
    if record.kind.module.startswith("torch.nn."):
        pairs |= {name: name for name in vars(ours) if name[0] != "_" and name not in _WITHOUT_EFFECT}
    state = record.state if isinstance(record.state, dict) else {}
    if _is_whole(state.get("scale_factor")) and state.get(_RECOMPUTE) in (None, False, True):
        pairs.pop(_RECOMPUTE, None)  # newer versions of torch write it; it rounds sizes, and these are whole
    for key, own in pairs.items():
        if key in state and not _is_same(state[key], getattr(ours, own)):
            raise CheckpointError(
                f"module `{printable(name)}` (`{record.kind}`): `{key}` is {described(state[key])}, "
                f"by the model's definition {getattr(ours, own)}"
            )


def _is_whole(factor: Any) -> bool:
    """Whether a factor, or each of two, is a whole number."""
    factors = factor if isinstance(factor, tuple) else (factor,)
    return all(isinstance(one, int | float) and float(one).is_integer() for one in factors)


def _is_same(value: Any, expected: Any) -> bool:
    """Equality where one number stands for a pair of it."""
    given = value if isinstance(value, tuple) else (value,)
    wanted = expected if isinstance(expected, tuple) else (expected,)
    if not 1 <= len(given) <= 4 or not all(isinstance(item, _SCALARS) for item in given):
        return False
    length = max(len(given), len(wanted))
    return given * (length // len(given)) == wanted * (length // len(wanted))


def _sources(given: Any, row: int) -> list[int]:
    listed = given if isinstance(given, list) else [given]
    if len(listed) > 64 or not all(type(source) is int for source in listed):
        return []
    return [source if source >= 0 else row + source for source in listed]


def _compare_tensors(skeleton: DetectionModel, tree: ModuleTree) -> None:
    for name, own in skeleton.state_dict().items():
        if name not in tree.tensors:
            raise CheckpointError(f"tensor `{name}` is missing", hint=_fused_hint(name))
        if tree.tensors[name].size != tuple(own.shape):
            raise CheckpointError(
                f"tensor `{name}` has the shape {tree.tensors[name].size}, by the model's definition {tuple(own.shape)}"
            )


def _fused_hint(name: str) -> str | None:
    is_norm = ".bn" in name
    return "the model was fused for inference; take the checkpoint that was made before" if is_norm else None
