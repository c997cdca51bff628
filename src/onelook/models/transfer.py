"""Weights of one model as the start of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from onelook.errors import ModelError, counted
from onelook.models.detector import DetectionModel


@dataclass(frozen=True)
class TransferReport:
    """What `transfer` did.

    Attributes:
        copied: items of the model that were taken over.
        total: items of the model.
        skipped: name -> reason, for the items of the model that keep their values.
        classes: those whose outputs were found by their names; empty if the classes are the same or have nothing in
            common.
        new_classes: those whose outputs keep their values; empty if the outputs are taken over whole.
    """

    copied: int
    total: int
    skipped: Mapping[str, str]
    classes: tuple[str, ...] = ()
    new_classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        by_name = f", the outputs of {counted(len(self.classes), 'class')} by name" if self.classes else ""
        return f"{self.copied} of {self.total} tensors reused{by_name}"


def transfer(model: nn.Module, tensors: Mapping[str, Tensor], *, exclude: Sequence[str] = ()) -> TransferReport:
    """Copy into `model` every tensor whose name and shape it has; precision and device stay those of the model.

    Args:
        exclude: parts of names; what contains one is not copied, for instance `anchors`.

    Raises:
        ModelError: not one tensor fits.

    >>> report = transfer(nn.Linear(2, 3), {"weight": torch.zeros(3, 2), "bias": torch.zeros(4)})
    >>> print(report, dict(report.skipped))
    1 of 2 tensors reused {'bias': 'shape (4,) in the weights, (3,) in the model'}
    """
    own = model.state_dict()
    skipped: dict[str, str] = {}
    for name, target in own.items():
        reason = _reason_to_skip(name, target, tensors, exclude)
        if reason is not None:
            skipped[name] = reason
            continue
        with torch.no_grad():
            target.copy_(tensors[name])
    if len(skipped) == len(own):
        raise ModelError(
            f"none of the {len(tensors)} tensors in the weights fits any of the {len(own)} of the model",
            hint="these weights belong to another model; name that model by `cfg`, or start without weights",
        )
    return TransferReport(copied=len(own) - len(skipped), total=len(own), skipped=skipped)


def transfer_detector(
    model: DetectionModel, tensors: Mapping[str, Tensor], names: Sequence[str], *, exclude: Sequence[str] = ()
) -> TransferReport:
    """`transfer` for a detector whose classes may be others, more, fewer, or in another order.

    Classes that both know by name keep what was learned about them: their rows of the head are copied, with those of
    boxes and objectness; the rows of new classes keep their values. Without a common name plain `transfer` decides, and
    so it does where the head has no use for them, see its `with_classes`.

    Raises:
        ModelError: not one tensor fits.
    """
    common = _common_classes(tuple(names), model.names)
    prefix = f"model.{len(model.plans) - 1}."
    given = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    head = model.head.with_classes(given, len(names), common)
    merged = {prefix + name: tensor for name, tensor in head.items()}
    report = transfer(model, {**tensors, **merged}, exclude=exclude)
    if common and merged:
        found = tuple(model.names[class_id] for class_id in common)
        new = tuple(name for class_id, name in enumerate(model.names) if class_id not in common)
        return replace(report, classes=found, new_classes=new)
    outputs = tuple(f"{prefix}{name}." for name in model.head.last_convolutions)
    keeps_own = any(name.startswith(outputs) for name in report.skipped)
    return replace(report, new_classes=model.names if keeps_own else ())


def _common_classes(given: tuple[str, ...], own: tuple[str, ...]) -> dict[int, int]:
    """Class id in the model -> in the weights, for names that occur once in both; empty if the classes are the same."""
    if given == own:
        return {}
    return {
        class_id: given.index(name)
        for class_id, name in enumerate(own)
        if given.count(name) == 1 and own.count(name) == 1
    }


def _reason_to_skip(name: str, target: Tensor, tensors: Mapping[str, Tensor], exclude: Sequence[str]) -> str | None:
    for part in exclude:
        if part in name:
            return f"excluded by `{part}`"
    if name not in tensors:
        return "not in the weights"
    given, own = tuple(tensors[name].shape), tuple(target.shape)
    return None if given == own else f"shape {given} in the weights, {own} in the model"
