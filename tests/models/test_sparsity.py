"""Small weights: counted, cut by magnitude, and gone in a copy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from onelook.models.convolutions import Conv
from onelook.models.detector import DetectionModel, create_model
from onelook.models.fuse import fuse, is_fused
from onelook.models.sparsity import measure_sparsity, pruned


@pytest.fixture
def model(tiny_model: Path) -> DetectionModel:
    """With batch-norms that are not all the same."""
    made = create_model(tiny_model, num_classes=2, seed=5).eval()
    generator = torch.Generator().manual_seed(7)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.05, 3, generator=generator)
            module.get_buffer("running_var").uniform_(0.2, 4, generator=generator)
    return made


def fused_weights(model: DetectionModel) -> dict[str, Tensor]:
    """Magnitudes after fusing, another way to what is measured."""
    return {
        name: module.weight.detach().abs()
        for name, module in fuse(model).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def test_share_below_a_threshold_is_that_of_the_fused_weights(model: DetectionModel) -> None:
    layers = measure_sparsity(model, threshold=0.05)
    expected = fused_weights(model)
    assert {layer.name: layer.weights for layer in layers} == {name: w.numel() for name, w in expected.items()}
    for layer in layers:
        assert layer.below == pytest.approx(float((expected[layer.name] < 0.05).double().mean()))
        assert layer.pruned == ()
    assert len({round(layer.below, 3) for layer in layers}) > 3


@pytest.mark.parametrize("percentage", [0, 10, 50, 99])
def test_pruning_zeroes_the_smallest_of_all_weights(model: DetectionModel, percentage: float) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = pruned(model, percentage)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    kept, gone, total = [], [], 0
    for name, magnitudes in fused_weights(model).items():
        weight = result.get_submodule(name).get_parameter("weight")
        assert torch.equal(weight[weight != 0], model.get_submodule(name).get_parameter("weight")[weight != 0])
        kept.append(magnitudes[weight != 0])
        gone.append(magnitudes[weight == 0])
        total += magnitudes.numel()
    assert sum(part.numel() for part in gone) == round(total * percentage / 100)
    if percentage:
        assert max(part.max() for part in gone if part.numel()) < min(part.min() for part in kept if part.numel())
    by_layer = {layer.name: layer.pruned[0] for layer in measure_sparsity(model, threshold=1, percentages=[percentage])}
    for name, share in by_layer.items():
        assert share == pytest.approx(float((result.get_submodule(name).get_parameter("weight") == 0).double().mean()))


def test_fused_model_has_the_same_small_weights(model: DetectionModel) -> None:
    assert (is_fused(model), is_fused(fuse(model))) == (False, True)
    assert not any(isinstance(module, Conv) and module.bn for module in fuse(model).modules())
    one, two = (measure_sparsity(each, threshold=0.02, percentages=(30,)) for each in (model, fuse(model)))
    assert one == two
