"""Names of YOLOX's tensors and of ours, and the size of model that the shapes imply."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from onelook.errors import CheckpointError
from onelook.models.catalog import find_definition
from onelook.models.detector import DetectionModel, create_model
from onelook.structures.coco_classes import COCO_NAMES

STEM = "backbone.backbone.stem.conv.conv.weight"
"""The tensor by which a state dict of YOLOX is recognised."""

OUR_STEM = "model.0.conv.weight"

ROWS = {
    "backbone.backbone.stem": 0,
    "backbone.backbone.dark2.0": 1,
    "backbone.backbone.dark2.1": 2,
    "backbone.backbone.dark3.0": 3,
    "backbone.backbone.dark3.1": 4,
    "backbone.backbone.dark4.0": 5,
    "backbone.backbone.dark4.1": 6,
    "backbone.backbone.dark5.0": 7,
    "backbone.backbone.dark5.1": 8,
    "backbone.backbone.dark5.2": 9,
    "backbone.lateral_conv0": 10,
    "backbone.C3_p4": 13,
    "backbone.reduce_conv1": 14,
    "backbone.C3_p3": 17,
    "backbone.bu_conv2": 18,
    "backbone.C3_n3": 20,
    "backbone.bu_conv1": 21,
    "backbone.C3_n4": 23,
    "head": 24,
}
"""Module of YOLOX -> row of our table."""

DEPTH_MULTIPLES = {1: 0.33, 2: 0.67, 3: 1.0, 4: 1.33}
"""Bottlenecks of the first cross-stage block -> depth_multiple."""

_PARTS = {"conv1": "cv1", "conv2": "cv2", "conv3": "cv3"}


def our_name(name: str) -> str | None:
    """The tensor `name` of YOLOX in our model; None if there is none.

    >>> our_name("backbone.C3_p4.m.0.conv1.bn.bias"), our_name("backbone.backbone.stem.conv.conv.weight")
    ('model.13.m.0.cv1.bn.bias', 'model.0.conv.weight')
    """
    for module, row in ROWS.items():
        if name.startswith(f"{module}."):
            rest = name.removeprefix(f"{module}.").split(".")
            if row == 0:
                rest = rest[1:]  # Focus holds a convolution block; we have the block alone
            if row == 24:
                return ".".join(["model.24", *rest])
            return ".".join([f"model.{row}", *(_PARTS.get(part, part) for part in rest)])
    return None


def yolox_skeleton(shapes: Mapping[str, tuple[int, ...]]) -> DetectionModel:
    """The YOLOX whose tensors have these shapes, on the meta device.

    Args:
        shapes: shapes of its tensors, by our names.

    Raises:
        CheckpointError: there is no such YOLOX; the message lacks the name of the file.
    """
    classes, width = shapes.get("model.24.cls_preds.0.weight"), shapes[OUR_STEM][0]
    if not classes:
        raise CheckpointError("it has no class outputs", hint="give a detector of YOLOX with its head")
    bottlenecks = sum(name.startswith("model.2.m.") and name.endswith(".cv1.conv.weight") for name in shapes)
    if bottlenecks not in DEPTH_MULTIPLES or width % 8 or not 8 <= width <= 256:
        raise CheckpointError(f"it is no YOLOX that is known: {width} channels, {bottlenecks} bottlenecks in a block")
    content, _ = find_definition("yolox-nano" if "model.1.dconv.conv.weight" in shapes else "yolox-s")
    content = {**content, "depth_multiple": DEPTH_MULTIPLES[bottlenecks], "width_multiple": width / 64}
    names = COCO_NAMES if classes[0] == len(COCO_NAMES) else None
    with torch.device("meta"):
        return create_model(content, num_classes=classes[0], names=names)


def check_shapes(skeleton: DetectionModel, shapes: Mapping[str, tuple[int, ...]], *, is_fused: bool = False) -> None:
    """Refuse tensors that are not exactly those of `skeleton`, by name and shape.

    Raises:
        CheckpointError: the first that differs is named.
    """
    own = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    if is_fused:  # what is left of a batch-norm is its shift, as the bias of the convolution
        biases = {name.replace(".bn.", ".conv."): shape for name, shape in own.items() if name.endswith(".bn.bias")}
        own = {name: shape for name, shape in own.items() if ".bn." not in name} | biases
    for name in [*own, *shapes]:
        if name not in shapes:
            raise CheckpointError(f"it lacks the tensor that is `{name}` in our model of YOLOX")
        if name not in own:
            raise CheckpointError(f"it has a tensor `{name}` that no YOLOX of its size has")
        if shapes[name] != own[name]:
            raise CheckpointError(f"its tensor `{name}` is {shapes[name]}, expected {own[name]}")
