"""Sizes of models: parameters, layers, operations. Nothing is computed: the counting runs on the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from onelook.models.detector import DetectionModel, create_model
from onelook.models.heads import Segment
from onelook.models.shape_rules import ShapeRules


@dataclass(frozen=True)
class RowSummary:
    """One row of a model table.

    Attributes:
        row: number, from 0.
        sources: rows that it reads; -1 is the image.
        block: its name.
        repeats: how often the block, or its inside, is repeated.
        channels: output channels; 0 for the head.
    """

    row: int
    sources: tuple[int, ...]
    block: str
    repeats: int
    channels: int
    parameters: int

    def __str__(self) -> str:
        sources = ",".join(map(str, self.sources))
        return f"  {self.row:>3} from {sources:<12}{self.block:<18}x{self.repeats:<3}{self.parameters:>12,}"


@dataclass(frozen=True)
class ModelSummary:
    """A model in numbers.

    Attributes:
        layers: modules, containers included.
        state_items: tensors in its weights file.
        gflops: 10^9 operations per image of `imgsz`, see `count_gflops`.
        imgsz: side of that image, pixels.
        strides: pixels per cell of each output map.
        rows: one per row of its table.
    """

    layers: int
    parameters: int
    state_items: int
    gflops: float
    imgsz: int
    strides: tuple[int, ...]
    rows: tuple[RowSummary, ...]

    def __str__(self) -> str:
        size = f"{self.gflops:.1f} GFLOPs at {self.imgsz} x {self.imgsz}"
        return f"{self.layers} layers, {self.parameters:,} parameters, {size}"


def describe(
    name_or_path: str | Path | Mapping[str, Any], *, imgsz: int = 640, num_classes: int | None = None
) -> ModelSummary:
    """The numbers of a shipped model or of a definition; no memory is taken for its weights.

    Args:
        name_or_path, num_classes: see `create_model`.
        imgsz: side of the image that operations are counted for, pixels.

    Raises:
        ModelError: the name is unknown, or the definition is no model.

    >>> describe("yolov5n").parameters
    1872157
    """
    with torch.device("meta"):
        return summarise(create_model(name_or_path, num_classes=num_classes), imgsz=imgsz)


def summarise(model: DetectionModel, *, imgsz: int = 640) -> ModelSummary:
    """The numbers of `model`."""
    rows = tuple(
        RowSummary(
            row=plan.row,
            sources=plan.sources,
            block=plan.block,
            repeats=plan.keywords.get("repeats", plan.repeats),
            channels=plan.channels_out,
            parameters=count_parameters(layer),
        )
        for plan, layer in zip(model.plans, model.model, strict=True)
    )
    return ModelSummary(
        layers=count_layers(model),
        parameters=count_parameters(model),
        state_items=len(model.state_dict()),
        gflops=count_gflops(model, imgsz=imgsz),
        imgsz=imgsz,
        strides=model.stride_px,
        rows=rows,
    )


def count_parameters(module: nn.Module) -> int:
    """Learned numbers."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_layers(module: nn.Module) -> int:
    """Modules, containers and `module` itself included."""
    return sum(1 for _ in module.modules())


def count_gflops(model: DetectionModel, *, imgsz: int = 640) -> float:
    """10^9 operations for one image of `imgsz` x `imgsz` pixels, a multiply-add counted as two.

    Convolutions, linear layers, and batch-norm at four multiply-adds per value until it is folded away. Activations and
    the products inside attention are left out, as in the published figures.
    """
    image = torch.empty(1, model.definition["ch"], imgsz, imgsz, device="meta")
    counter = _Counter()
    with torch.enable_grad(), counter:  # without grad, attention hides its products
        if isinstance(model.model[-1], Segment):
            model.segment(image)
        else:
            model(image)
    return counter.operations / 1e9


class _Counter(ShapeRules):
    """Counts operations of convolutions (B, C, H, W), linear layers (..., C), attention (T, B, C) and batch-norms.

    All tensors take part by their shapes: nothing is computed, and no count of a batch-norm moves.
    """

    operations = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args = tuple(torch.empty_like(x, device="meta") if isinstance(x, Tensor) and not x.is_meta else x for x in args)
        result = super().__torch_function__(func, types, args, kwargs)
        if func is F.batch_norm:
            self.operations += 8 * result.numel()
        elif func in (torch.conv2d, torch.conv_transpose2d):
            cells = result if func is torch.conv2d else args[0]
            self.operations += 2 * cells[:, 0].numel() * args[1].numel()
        elif func is F.linear:
            self.operations += 2 * result[..., 0].numel() * args[1].numel()
        elif func is F.multi_head_attention_forward:
            self.operations += 2 * args[0][..., 0].numel() * (args[5].numel() + args[11].numel())
        return result
