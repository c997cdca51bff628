"""Tensors for a head that may have a second, one-to-one branch called `one`, out of those of another such head."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

_CLASS_OUTPUTS = "cls_preds."


def branch_tensors(
    head: nn.Module, given: Mapping[str, Tensor], num_given: int, common: Mapping[int, int]
) -> dict[str, Tensor]:
    """What cannot be taken from `given` name by name: rows of `common` classes in every branch, and a second branch.

    A second branch that `given` lacks starts as a copy of the first: it is then as good as that one at finding objects,
    and has to learn only to find each once.

    Args:
        head: its own values stay in the rows of other classes.
        given: tensors of the other head, by their names in it.
        num_given: its classes.
        common: class id here -> there.
    """
    own = head.state_dict()
    result: dict[str, Tensor] = {}
    if not any(name.startswith("one.") for name in given):
        copies = {f"one.{name}": tensor for name, tensor in given.items()}
        given = {**given, **copies}
        result = {name: copies[name] for name, tensor in own.items() if _fits(copies.get(name), tensor)}
    for name, tensor in own.items():
        found = given.get(name)
        if common and _CLASS_OUTPUTS in name and found is not None and found.shape == (num_given, *tensor.shape[1:]):
            rows = tensor.detach().clone()
            rows[list(common.keys())] = found[list(common.values())].to(rows)
            result[name] = rows
    return result


def _fits(found: Tensor | None, own: Tensor) -> bool:
    return found is not None and found.shape == own.shape
