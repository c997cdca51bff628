"""The detector: layers of a definition with a head at the end. Raw maps come out; loss and NMS live elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from onelook.errors import ModelError, counted
from onelook.models.blocks import HEADS
from onelook.models.catalog import find_definition
from onelook.models.definition import Anchors, Definition, read_definition
from onelook.models.head_protocol import Head
from onelook.models.heads import Detect, Segment, SegmentationMaps
from onelook.models.layer_table import (
    IMAGE,
    LayerPlan,
    build_layers,
    gather_inputs,
    last_uses,
    plan_layers,
    trace_shapes,
    with_second_branch,
)
from onelook.models.point_head import PointHead
from onelook.structures.anchors import AnchorGrid

Branch = Literal["many", "one"]

MAX_PARAMETERS = 1_000_000_000
STRIDE_PROBE_PX = 256


class DetectionModel(nn.Module):
    """A detector with K classes.

    Attributes:
        model: one child per row of the table, so that weights are called `model.<row>.<part>`.
        plans: the rows, understood.
        definition: the table as a plain dictionary, overrides included; builds the same model again.
        names: K class names.
        stride_px: pixels per cell of each output map.
        imgsz: side of the images that it was trained on, pixels; None if that is unknown.
    """

    def __init__(self, definition: Definition, plans: tuple[LayerPlan, ...], *, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = build_layers(plans, activation=definition.activation, inplace=definition.inplace)
        self.plans = plans
        self.definition: dict[str, Any] = copy.deepcopy(definition.as_dict())
        self.names = names
        self.stride_px: tuple[int, ...] = ()
        self.imgsz: int | None = None
        self._released = last_uses(plans)

    @property
    def head(self) -> Head:
        """The last layer."""
        return cast(Head, self.model[-1])

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Branches of the head: "many" gives several boxes per object and needs NMS, "one" does not."""
        if not self.head.needs_nms:
            return ("one",)
        return ("many",) if self.head.one is None else ("many", "one")

    def keep_branch(self, branch: Branch) -> None:
        """Drop the other branch for good, as for inference; without effect if there is no other.

        Raises:
            ModelError: the model has no such branch.
        """
        if branch not in self.branches:
            raise ModelError(
                f"the model has no branch `{branch}`", hint=f"it has {' and '.join(self.branches)}: use `--head auto`"
            )
        head = self.model[-1]
        if len(self.branches) == 2:
            assert isinstance(head, PointHead), "no other head has two"
            self.model[-1] = head.second_alone() if branch == "one" else head
            head.one = None

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """Channels of each map that the head reads."""
        return tuple(self.plans[source].channels_out for source in self.plans[-1].sources)

    @property
    def num_classes(self) -> int:
        """Classes, K."""
        return self.head.num_classes

    @property
    def strides(self) -> Tensor:
        """(L,) float32 pixels per cell of each map."""
        return self.head.strides

    @property
    def max_stride(self) -> int:
        """Height and width of images must be multiples of this, pixels."""
        return max(self.stride_px)

    @property
    def anchor_grid(self) -> AnchorGrid | None:
        """Anchors in pixels, and strides; copies. None if the head has no anchors."""
        head = self.model[-1]
        return head.anchor_grid() if isinstance(head, Detect) else None

    def set_anchors(self, anchors_px: Tensor) -> None:
        """Replace the anchors, (L, A, 2) width, height in pixels; put in the order of the strides if they are not.

        Raises:
            ModelError: the model has no anchors, they are of another shape, or a side is not above 0.
        """
        head = self.model[-1]
        if not isinstance(head, Detect):
            raise ModelError(f"a model that ends with `{self.plans[-1].block}` has no anchors")
        if anchors_px.shape != head.anchors.shape:
            raise ModelError(
                f"anchors of shape {tuple(anchors_px.shape)} for a head of {tuple(head.anchors.shape)}",
                hint="give (maps, anchors per cell, 2)",
            )
        if not bool((torch.isfinite(anchors_px) & (anchors_px > 0)).all()):
            raise ModelError("anchors must be finite and above 0 pixels")
        head.place_anchors(anchors_px)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw maps, L tensors (B, A, H / s, W / s, outputs) as the head gives them, see `Head`; 2 L with two branches.

        Args:
            images: (B, C, H, W) 0 to 1; H and W multiples of `max_stride`.
        """
        return self.raw_maps(self.features(images))

    def raw_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The raw maps of the features that the head reads."""
        maps: list[Tensor]
        device = features[0].device.type
        if not self.training and torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):  # bfloat16 has two digits: too few to rank by
                maps = self.head([feature.float() for feature in features])
        else:
            maps = self.head(features)
        return maps

    def segment(self, images: Tensor) -> SegmentationMaps:
        """Raw maps with mask coefficients and prototypes, for a model that ends with Segment.

        Raises:
            ModelError: the model does not end with Segment.
        """
        head = self.model[-1]
        if not isinstance(head, Segment):
            raise ModelError("this model gives no masks", hint="use one of the -seg models")
        return head.segment(self.features(images))

    def features(self, images: Tensor) -> list[Tensor]:
        """The maps that the head reads, each (B, C, H / s, W / s); every other map is freed after its last use."""
        outputs = {IMAGE: images}
        for plan, layer, released in zip(self.plans[:-1], self.model, self._released, strict=False):
            outputs[plan.row] = layer(gather_inputs(plan, outputs))
            for row in released:
                del outputs[row]
        return [outputs[source] for source in self.plans[-1].sources]

    def decode(self, raw_maps: Sequence[Tensor]) -> Tensor:
        """Boxes and scores of the first branch, (B, N, 5 + K) float32, see `Head.decode`."""
        return self.head.decode(raw_maps[: len(self.stride_px)])

    def decode_branch(self, raw_maps: Sequence[Tensor], branch: Branch) -> Tensor:
        """Boxes and scores of one of `branches`, from the raw maps of all."""
        half = len(self.stride_px)
        first = branch == self.branches[0]
        head = self.head if first else self.head.one
        assert head is not None, "the head has two branches"
        return head.decode(raw_maps[:half] if first else raw_maps[half:])


def create_model(
    name_or_path: str | Path | Mapping[str, Any],
    *,
    num_classes: int | None = None,
    channels: int | None = None,
    anchors: Anchors | str | None = None,
    names: Sequence[str] | None = None,
    one_to_one: bool | None = None,
    seed: int | None = 0,
) -> DetectionModel:
    """A new detector with random weights, on torch's default device (the meta device too).

    Args:
        name_or_path: a name in `MODELS`, a YAML file, or a definition as a mapping.
        num_classes: replaces that of the definition (80 in all shipped ones).
        channels: image channels; replaces those of the definition (3).
        anchors: replaces those of the definition: per map w, h, w, h, ... in pixels, the name of a set, or how many per
            cell, to be fitted to the data later.
        names: class names; numbers if left out.
        one_to_one: whether the head is to have a second branch that needs no NMS, where it can; None leaves that to the
            definition.
        seed: decides the weights; torch's own generator is left as it was. None draws from that generator.

    Raises:
        ModelError: the name is unknown, or the definition is no model.

    >>> model = create_model("yolov5n", num_classes=3)
    >>> [tuple(x.shape) for x in model(torch.zeros(1, 3, 64, 64))]
    [(1, 3, 8, 8, 8), (1, 3, 4, 4, 8), (1, 3, 2, 2, 8)]
    """
    if names is not None and num_classes is None:
        num_classes = len(names)
    definition, where = _definition(name_or_path, {"nc": num_classes, "ch": channels, "anchors": anchors})
    if one_to_one is not None:
        definition = with_second_branch(definition, one_to_one)
    class_names = tuple(names) if names is not None else tuple(str(i) for i in range(definition.num_classes))
    if len(class_names) != definition.num_classes:
        raise ModelError(f"{counted(len(class_names), 'class name')} for {counted(definition.num_classes, 'class')}")
    skeleton = _probed(definition, where)
    target = torch.get_default_device()
    if target.type == "meta":
        model = copy.deepcopy(skeleton)
        model.names = class_names
        return model
    if seed is None:
        return _started(definition, class_names, skeleton.stride_px)
    with torch.random.fork_rng(devices=[]), nullcontext() if target.type == "cpu" else torch.device("cpu"):
        torch.manual_seed(seed)
        model = _started(definition, class_names, skeleton.stride_px)
    return model.to(target)


def skeleton_of(name_or_path: str | Path | Mapping[str, Any], *, num_classes: int) -> DetectionModel:
    """The model on the meta device, without class names; shared between callers, so do not change it.

    Raises:
        ModelError: see `create_model`.
    """
    return _probed(*_definition(name_or_path, {"nc": num_classes}))


def fill_skeleton(skeleton: DetectionModel, tensors: Mapping[str, Tensor]) -> None:
    """Give a model on the meta device copies of `tensors`, its whole state, in its own types and on their device.

    Raises:
        RuntimeError: a tensor is missing, of another shape, or no part of the model.
    """
    own = skeleton.state_dict()
    copies = {name: tensor.to(own.get(name, tensor).dtype, copy=True) for name, tensor in tensors.items()}
    skeleton.load_state_dict(copies, assign=True)
    for head in (skeleton.head, skeleton.head.one):
        if head is not None:
            head.take_strides(skeleton.stride_px)


def _definition(
    name_or_path: str | Path | Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[Definition, str | None]:
    """A definition, and the file that it is from."""
    if isinstance(name_or_path, Mapping):
        return read_definition(name_or_path, where="model", overrides=overrides), None
    content, where = find_definition(name_or_path)
    return read_definition(content, where=where, overrides=overrides), where


def _probed(definition: Definition, where: str | None) -> DetectionModel:
    """Its skeleton, see `_skeleton`; problems name the file."""
    try:
        return _skeleton(definition)
    except ModelError as problem:
        if where is None:
            raise
        message = problem.message.removeprefix("model ")
        raise ModelError(f"model `{where}`: {message}", hint=problem.hint) from problem


@lru_cache(maxsize=8)
def _skeleton(definition: Definition) -> DetectionModel:
    """The model on the meta device, its strides found by running it there.

    A run needs it several times, so the last ones are remembered.

    Raises:
        ModelError: the model has no head or too many parameters, or its maps do not fit together.
    """
    plans = plan_layers(definition)
    if plans[-1].block not in HEADS:
        raise ModelError(
            f"the last row of the model is `{plans[-1].block}`", hint=f"end with {', '.join(sorted(HEADS))}"
        )
    with torch.device("meta"), torch.no_grad():
        skeleton = DetectionModel(definition, plans, names=()).eval()
        parameters = sum(parameter.numel() for parameter in skeleton.parameters())
        if parameters > MAX_PARAMETERS:
            raise ModelError(f"the model has {parameters} parameters", hint=f"at most {MAX_PARAMETERS} are accepted")
        image = torch.empty(1, definition.channels, STRIDE_PROBE_PX, STRIDE_PROBE_PX)
        shapes = trace_shapes(skeleton.model, plans, image)
    skeleton.stride_px = tuple(_stride_of(source, shapes[source]) for source in plans[-1].sources)
    return skeleton.train()


def _stride_of(row: int, shape: torch.Size) -> int:
    if len(shape) != 4:
        raise ModelError(f"model row {row} gives no map that the head could read", hint="drop Classify")
    height, width = shape[2:]
    if height != width or STRIDE_PROBE_PX % height:
        raise ModelError(
            f"model row {row}: a {STRIDE_PROBE_PX} px image becomes {height} x {width} cells",
            hint="a map of the head must shrink the image by a whole number",
        )
    return STRIDE_PROBE_PX // height


def _started(definition: Definition, names: tuple[str, ...], stride_px: tuple[int, ...]) -> DetectionModel:
    """A model with its strides known and its head ready to learn."""
    model = DetectionModel(definition, plan_layers(definition), names=names)
    model.stride_px = stride_px
    model.head.initialise(stride_px, model.definition.get("anchors"))
    return model
