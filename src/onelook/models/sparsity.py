"""Weights that are small: how many, where, and the model without them.

Magnitudes are those of the convolutions with their batch-norm folded in, so that layers can be compared.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onelook.models.convolutions import Conv
from onelook.models.detector import DetectionModel
from onelook.models.fuse import folded


@dataclass(frozen=True)
class LayerSparsity:
    """The weights of one convolution or linear layer; biases and batch-norms are not counted.

    Attributes:
        name: of the layer in the state of the model.
        weights: how many.
        below: share of them whose magnitude is below the threshold.
        pruned: share that pruning zeroes, one for each percentage that was asked for.
    """

    name: str
    weights: int
    below: float
    pruned: tuple[float, ...]


def measure_sparsity(
    model: DetectionModel, *, threshold: float, percentages: Sequence[float] = ()
) -> tuple[LayerSparsity, ...]:
    """The share of small weights in each layer.

    Args:
        model: not changed.
        threshold: magnitude below which a weight counts as small.
        percentages: of all weights of the model; see `pruned`.
    """
    magnitudes = {name: _magnitudes(layer, norm) for name, layer, norm in _layers(model)}
    cuts = [_cut(list(magnitudes.values()), percentage) for percentage in percentages]
    return tuple(
        LayerSparsity(
            name=name,
            weights=values.numel(),
            below=_share(values < threshold),
            pruned=tuple(_share(values <= cut) for cut in cuts),
        )
        for name, values in magnitudes.items()
    )


def pruned(model: DetectionModel, percentage: float) -> DetectionModel:
    """A copy of `model` whose weights of least magnitude are zero.

    Args:
        model: not changed.
        percentage: of all weights of the model, 0 to 100; weights that are as large as the last of them go, too.
    """
    result = copy.deepcopy(model)
    layers = [(layer, _magnitudes(layer, norm)) for _, layer, norm in _layers(result)]
    cut = _cut([values for _, values in layers], percentage)
    with torch.no_grad():
        for layer, values in layers:
            layer.weight[values <= cut] = 0
    return result


def _layers(model: DetectionModel) -> Iterator[tuple[str, nn.Conv2d | nn.Linear, nn.BatchNorm2d | None]]:
    """Every layer with weights, and the batch-norm that follows it."""
    norms = {id(module.conv): module.bn for module in model.modules() if isinstance(module, Conv)}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield name, module, norms.get(id(module))


def _magnitudes(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d | None) -> Tensor:
    weight = folded(layer, norm).weight if norm is not None and isinstance(layer, nn.Conv2d) else layer.weight
    return weight.detach().abs().float()


def _cut(magnitudes: Sequence[Tensor], percentage: float) -> float:
    """The magnitude up to which weights go; -1 if none do."""
    together = torch.cat([values.flatten() for values in magnitudes])
    count = round(together.numel() * percentage / 100)
    return float(torch.kthvalue(together, count).values) if count else -1.0


def _share(chosen: Tensor) -> float:
    return float(chosen.cpu().double().mean())
