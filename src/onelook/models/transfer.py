"""Weights of one model as the start of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onelook.errors import ModelError


@dataclass(frozen=True)
class TransferReport:
    """What `transfer` did.

    Attributes:
        copied: items of the model that were taken over.
        total: items of the model.
        skipped: name -> reason, for the items of the model that keep their values.
        unused: names in the weights that the model does not have.
    """

    copied: int
    total: int
    skipped: Mapping[str, str]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        return f"transferred {self.copied} of {self.total} items"


def transfer(model: nn.Module, tensors: Mapping[str, Tensor], *, exclude: Sequence[str] = ()) -> TransferReport:
    """Copy into `model` every tensor whose name and shape it has; precision and device stay those of the model.

    Args:
        model: changed in place.
        tensors: name -> tensor, as of `state_dict`.
        exclude: parts of names; what contains one is not copied, for instance `anchors`.

    Raises:
        ModelError: not one tensor fits.

    >>> report = transfer(nn.Linear(2, 3), {"weight": torch.zeros(3, 2), "bias": torch.zeros(4)})
    >>> print(report, dict(report.skipped))
    transferred 1 of 2 items {'bias': 'shape (4,) in the weights, (3,) in the model'}
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
    unused = tuple(name for name in tensors if name not in own)
    return TransferReport(copied=len(own) - len(skipped), total=len(own), skipped=skipped, unused=unused)


def _reason_to_skip(name: str, target: Tensor, tensors: Mapping[str, Tensor], exclude: Sequence[str]) -> str | None:
    for part in exclude:
        if part in name:
            return f"excluded by `{part}`"
    if name not in tensors:
        return "not in the weights"
    given, own = tuple(tensors[name].shape), tuple(target.shape)
    return None if given == own else f"shape {given} in the weights, {own} in the model"
