"""Checkpoints as YOLOv5 writes them, made by torch's own writer from models of ours: same classes by name, no code."""

from __future__ import annotations

import copy
import datetime
import io
import math
import pathlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onelook.models.detector import DetectionModel, create_model

DATE = datetime.datetime(2022, 11, 22, 1, 2, 3).isoformat()
HEADS = ("Detect", "Segment")
HYP = {"lr0": 0.01, "anchor_t": 4.0, "weight_decay": 0.0005}


def trained(name_or_path: Any, names: Sequence[str], *, seed: int = 0, **keys: Any) -> DetectionModel:
    """A model whose numbers all differ from those of a new one, as if it had been trained; exact in 16 bits."""
    model = create_model(name_or_path, names=tuple(names), seed=seed, **keys)
    generator = torch.Generator().manual_seed(seed + 1)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not name.endswith("anchors"):
            noise = torch.rand(tensor.shape, generator=generator) - 0.5
            tensor.copy_((tensor + 0.01 * noise).half())
    return model


@dataclass
class Look:
    """How a file is to look.

    Attributes:
        model_class: `Model` before 6.2, `DetectionModel` since.
        names_as_mapping: as 7.0 keeps the class names.
        rename: class -> what it is called in the file, instead of `models.common.X` or `models.yolo.X`.
        sync_norm: batch-norms of a run in many processes.
        old_grid: the buffer `anchor_grid` that versions before 6.0 had.
        dtype: of the numbers.
        package: what its code was put into, such as `yolov5.`.
        recomputes: as newer versions of torch keep `Upsample`.
    """

    model_class: str = "models.yolo.DetectionModel"
    names_as_mapping: bool = False
    rename: dict[str, str] = field(default_factory=dict)
    sync_norm: bool = False
    old_grid: bool = False
    dtype: torch.dtype = torch.float16
    package: str = ""
    recomputes: bool = False


class Disguise:
    """Makes modules that torch pickles under the class names of YOLOv5; the names exist while a file is written."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self._places: dict[str, ModuleType] = {}

    def instance(self, path: str) -> nn.Module:
        """A bare module of the class `path`."""
        place, _, name = path.rpartition(".")
        parts = place.split(".")
        for depth in range(1, len(parts) + 1):
            part = ".".join(parts[:depth])
            self._places.setdefault(part, ModuleType(part))
        module = self._places[place]
        if not hasattr(module, name):
            setattr(module, name, type(name, (nn.Module,), {"__module__": place}))
        made: nn.Module = getattr(module, name)()
        return made

    def model(self, ours: DetectionModel) -> nn.Module:
        """`ours` as YOLOv5 keeps it."""
        model = self.instance(self.look.package + self.look.model_class)
        model.model = nn.Sequential(*(self._part(layer) for layer in ours.model))
        for plan, row in zip(ours.plans, model.model, strict=True):
            sources = [source - plan.row if source == plan.row - 1 else source for source in plan.sources]
            row.i, row.f = plan.row, sources if len(sources) > 1 else sources[0]
            row.type, row.np = f"{type(row).__module__}.{type(row).__name__}", 0
        names = list(ours.names)
        model.names = dict(enumerate(names)) if self.look.names_as_mapping else names
        model.yaml = {**copy.deepcopy(ours.definition), "comment": "a key that nothing reads"}
        model.yaml_file, model.save, model.inplace, model.nc = "tiny.yaml", [3, 4, 5], True, len(names)
        model.hyp, model.stride = dict(HYP), ours.strides.clone()
        model.class_weights = torch.ones(len(names), dtype=torch.float64)
        return model.to(self.look.dtype)

    def _part(self, ours: nn.Module) -> nn.Module:
        kind = type(ours).__name__
        path = self.look.rename.get(kind)
        if path is None and type(ours).__module__.startswith("torch.nn."):
            return self._plain(ours)
        if kind == "SiLU":
            return nn.SiLU(inplace=True)
        part = self.instance(self.look.package + (path or f"models.{'yolo' if kind in HEADS else 'common'}.{kind}"))
        for name, child in ours.named_children():
            part.add_module(name, self._part(child))
        for name, buffer in ours.named_buffers(recurse=False):
            if name != "strides":
                part.register_buffer(name, buffer.clone())
        if hasattr(ours, "adds_input"):
            part.add = ours.adds_input
        if kind == "Concat":
            part.d = 1
        if kind in HEADS:
            self._finish_head(part, ours)
        return part

    def _finish_head(self, part: nn.Module, ours: nn.Module) -> None:
        maps, anchors = ours.anchors.shape[:2]
        part.nc, part.no, part.nl, part.na = ours.num_classes, ours.num_outputs, maps, anchors
        part.stride = ours.strides.clone()
        part.grid = [torch.zeros(1, anchors, 2, 2, 2).half() for _ in range(maps)]
        if self.look.old_grid:
            part.register_buffer("anchor_grid", torch.ones(maps, 1, anchors, 1, 1, 2))
        else:
            part.anchor_grid = [torch.ones(1, anchors, 1, 1, 2).expand(1, anchors, 2, 2, 2) for _ in range(maps)]

    def _plain(self, ours: nn.Module) -> nn.Module:
        if isinstance(ours, nn.Sequential | nn.ModuleList):
            return (
                type(ours)(*(self._part(child) for child in ours))
                if isinstance(ours, nn.Sequential)
                else type(ours)(self._part(child) for child in ours)
            )
        if isinstance(ours, nn.BatchNorm2d) and self.look.sync_norm:
            norm = nn.SyncBatchNorm(ours.num_features, eps=ours.eps, momentum=ours.momentum)
            norm.load_state_dict(ours.state_dict())
            return norm
        plain = copy.deepcopy(ours)
        if isinstance(plain, nn.Upsample) and self.look.recomputes:
            plain.recompute_scale_factor = True
        return plain

    def save(self, content: Any) -> bytes:
        """What torch writes for `content`."""
        file = io.BytesIO()
        with pytest.MonkeyPatch.context() as patch:
            for name, module in self._places.items():
                patch.setitem(sys.modules, name, module)
            torch.save(content, file)
        return file.getvalue()


def stripped(ours: DetectionModel, look: Look | None = None, **changes: Any) -> bytes:
    """A file as a finished run leaves it: the averaged model alone."""
    disguise = Disguise(look or Look())
    content = {"epoch": -1, "best_fitness": None, "model": disguise.model(ours), "ema": None, "updates": None}
    return disguise.save({**content, "optimizer": None, "wandb_id": None, "date": DATE, **changes})


def unstripped(ours: DetectionModel, average: DetectionModel, look: Look | None = None) -> bytes:
    """A file as an unfinished run leaves it: two models, the optimiser, a score, options, all as 7.0 keeps them."""
    disguise = Disguise(look or Look(names_as_mapping=True))
    weights = list(ours.parameters())
    optimizer = torch.optim.SGD(weights, lr=0.01, momentum=0.9, nesterov=True)
    for weight in weights[:3]:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    content: dict[str, Any] = {
        "epoch": 7,
        "best_fitness": np.array([0.25]),
        "model": disguise.model(ours),
        "ema": disguise.model(average),
        "updates": 1234,
        "optimizer": optimizer.state_dict(),
        "opt": {"weights": pathlib.PosixPath("yolov5n.pt"), "imgsz": 640, "device": torch.device("cpu"), "r": math.pi},
        "git": {"remote": "https://example.org/detector", "branch": "main", "commit": "0" * 40},
        "date": DATE,
    }
    return disguise.save(content)


def halved(ours: DetectionModel) -> dict[str, Tensor]:
    """The state that a file in 16 bits gives back."""
    state = ours.state_dict()
    return {name: x.half().float() if x.is_floating_point() else x for name, x in state.items()}
