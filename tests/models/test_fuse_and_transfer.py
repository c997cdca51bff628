"""Folding batch-norm into convolutions, and carrying weights from one model to another."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from onelook.errors import ModelError
from onelook.models.detector import DetectionModel, create_model
from onelook.models.fuse import folded, fuse
from onelook.models.transfer import transfer, transfer_detector


def lived_in(name: str, **keys: object) -> DetectionModel:
    """A model whose batch-norms have statistics and gains of their own."""
    model = create_model(name, num_classes=2, **keys)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
    return model


@pytest.mark.parametrize("name", ["yolov5n", "yolov3-tiny", "yolov5s-ghost", "yolov5s-transformer", "yolov5n-seg"])
def test_fused_model_gives_the_same_boxes_and_leaves_the_original_alone(name: str) -> None:
    model = lived_in(name).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    fused = fuse(model)
    with torch.no_grad():
        for expected, got in zip(model(images), fused(images), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_fused_convolution_owns_a_weight_and_a_bias_and_nothing_learns() -> None:
    fused = fuse(create_model("yolov5n"))
    first_row = [name for name in fused.state_dict() if name.startswith("model.0.")]
    assert first_row == ["model.0.conv.weight", "model.0.conv.bias"]
    assert not fused.training
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    assert len(fuse(fused).state_dict()) == len(fused.state_dict()), "fusing twice changes nothing"


def test_folding_takes_the_bias_of_the_convolution_along() -> None:
    convolution, norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3).eval()
    norm.running_mean.copy_(torch.tensor([0.1, 0.2, 0.3]))
    norm.running_var.copy_(torch.tensor([0.5, 1.0, 2.0]))
    x = torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(folded(convolution, norm)(x), norm(convolution(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["yolov5n", "yolov5s"])
def test_all_but_the_six_head_tensors_fit_another_number_of_classes(name: str) -> None:
    with torch.device("meta"):
        source, target = create_model(name), create_model(name, num_classes=3)
    report = transfer(target, source.state_dict())
    assert (report.copied, report.total) == (343, 349)
    assert str(report) == "343 of 349 tensors reused"
    assert set(report.skipped) == {f"model.24.m.{i}.{part}" for i in range(3) for part in ("weight", "bias")}
    assert report.skipped["model.24.m.0.bias"] == "shape (255,) in the weights, (24,) in the model"


def test_transferred_tensors_are_copied_into_the_precision_of_the_model() -> None:
    source, target = lived_in("yolov3-tiny", seed=1), create_model("yolov3-tiny", num_classes=2, seed=2)
    report = transfer(
        target, {name: x.half() if x.is_floating_point() else x for name, x in source.state_dict().items()}
    )
    assert report.copied == report.total == 71
    for name, value in target.state_dict().items():
        expected = source.state_dict()[name]
        assert value.dtype == expected.dtype
        assert torch.equal(value, expected.half().float() if value.is_floating_point() else expected), name
    first = source.model[0].conv.weight
    assert target.model[0].conv.weight.data_ptr() != first.data_ptr()


def test_excluded_and_missing_names_are_told_and_unknown_ones_passed_over() -> None:
    target = create_model("yolov3-tiny", num_classes=2)
    anchors = target.anchor_grid.anchors.clone()
    tensors = copy.deepcopy(target.state_dict())
    tensors["model.20.anchors"] += 1
    tensors["model.20.anchor_grid"] = torch.zeros(1)
    del tensors["model.0.conv.weight"]
    report = transfer(target, tensors, exclude=["anchor"])
    assert report.skipped == {"model.0.conv.weight": "not in the weights", "model.20.anchors": "excluded by `anchor`"}
    assert torch.equal(target.anchor_grid.anchors, anchors)
    transfer(target, tensors)
    assert not torch.equal(target.anchor_grid.anchors, anchors)


@pytest.mark.parametrize("tensors", [{}, {"backbone.weight": torch.zeros(1)}])
def test_weights_of_which_nothing_fits_are_refused(tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ModelError, match=f"none of the {len(tensors)} tensors in the weights fits any of the 71"):
        transfer(create_model("yolov3-tiny"), tensors)


def test_transfer_keeps_gradients_switched_on() -> None:
    target = create_model("yolov3-tiny", num_classes=2)
    transfer(target, create_model("yolov3-tiny", num_classes=2, seed=4).state_dict())
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in target.parameters())


def outputs_of(model: DetectionModel, part: str, map_index: int = 0) -> torch.Tensor:
    """(A, 5 + K + M, ...) rows of the head's convolution, anchor by anchor."""
    rows = model.head.m.state_dict()[f"{map_index}.{part}"]
    return rows.view(model.head.num_anchors, model.head.num_outputs, *rows.shape[1:])


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov5n-seg"])
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_classes_are_found_by_name_and_new_ones_start_again(name: str, part: str) -> None:
    source = create_model(name, names=("cat", "dog", "owl", "bee"), seed=1)
    target = create_model(name, names=("bee", "fox", "cat"), seed=2)
    before = outputs_of(target, part).clone()
    report = transfer_detector(target, source.state_dict(), source.names)
    given, got = outputs_of(source, part), outputs_of(target, part)
    assert torch.equal(got[:, :5], given[:, :5]), "boxes and objectness"
    assert torch.equal(got[:, 5], given[:, 5 + 3]) and torch.equal(got[:, 7], given[:, 5])
    assert torch.equal(got[:, 6], before[:, 6]), "fox is new"
    assert torch.equal(got[:, 8:], given[:, 9:]), "mask coefficients"
    assert report.copied == report.total and report.classes == ("bee", "cat")
    assert str(report).endswith("tensors reused, the outputs of 2 classes by name")


@pytest.mark.parametrize(
    ("given", "own", "copied"),
    [
        (("cat", "dog"), ("cat", "dog"), 71),
        (("cat", "dog"), ("bee", "fox"), 71),
        (("cat", "dog"), ("bee", "fox", "owl"), 67),
        (("cat", "dog"), ("cat",), 67),
        (("cat",), ("cat", "dog"), 67),
        (("cat",), ("dog",), 71),
        (("cat", "cat"), ("cat", "dog", "owl"), 67),
    ],
)
def test_without_a_common_class_shapes_decide(given: tuple[str, ...], own: tuple[str, ...], copied: int) -> None:
    source, target = create_model("yolov3-tiny", names=given, seed=1), create_model("yolov3-tiny", names=own, seed=2)
    report = transfer_detector(target, source.state_dict(), given)
    assert (report.copied, report.classes) == (copied, ())
