"""Files of YOLOX made from models of ours, by torch's own writers: what its trainer and its exporter leave."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onelook.interop.yolox_names import ROWS
from onelook.models.detector import DetectionModel, create_model
from onelook.models.fuse import fuse
from onelook.models.pooling import SPP
from onelook.models.stem import folded_stem

THEIR_PARTS = {"cv1": "conv1", "cv2": "conv2", "cv3": "conv3"}


def trained_yolox(name: str, num_classes: int) -> tuple[DetectionModel, Tensor]:
    """A model whose numbers all differ from those of a new one, and its stem as YOLOX keeps it, (C, 12, 3, 3)."""
    model = create_model(name, num_classes=num_classes, seed=1)
    generator = torch.Generator().manual_seed(2)
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(tensor + (0.1 * noise if key.endswith("running_var") else 0.1 * (noise - 0.5)))
    width = model.plans[0].channels_out
    stem = (torch.rand(width, 12, 3, 3, generator=generator) - 0.5) / 255
    model.state_dict()["model.0.conv.weight"].copy_(folded_stem(stem))
    return model, stem


def state_of(model: DetectionModel, stem: Tensor) -> OrderedDict[str, Tensor]:
    """The state dict of the same model in YOLOX."""
    modules = {row: module for module, row in ROWS.items()}
    state: OrderedDict[str, Tensor] = OrderedDict()
    for name, tensor in model.state_dict().items():
        _, row, *rest = name.split(".")
        if row == "0":
            rest = ["conv", *rest]
        if row != "24":
            rest = [THEIR_PARTS.get(part, part) for part in rest]
        state[".".join([modules[int(row)], *rest])] = stem if name == "model.0.conv.weight" else tensor
    state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]  # as of a module
    return state


def save_pth(path: Path, model: DetectionModel, stem: Tensor, **others: Any) -> Path:
    """A checkpoint as their trainer saves it."""
    optimizer = {"state": {0: {"momentum_buffer": stem}}, "param_groups": [{"lr": 0.01, "params": [0]}]}
    content = {"start_epoch": 300, "model": state_of(model, stem), "optimizer": optimizer, "amp": None, **others}
    torch.save(content, path)
    return path


class Exported(nn.Module):
    """The graph that their exporter traces: pixel phases of BGR from 0 to 255, three pools, scores, no boxes."""

    def __init__(self, model: DetectionModel, stem: Tensor) -> None:
        super().__init__()
        self.network = fuse(model)
        folded = self.network.model[0].conv
        ours = model.model[0]
        gain = ours.bn.weight / torch.sqrt(ours.bn.running_var + ours.bn.eps)
        self.stem = nn.Conv2d(12, len(stem), 3, 1, 1)
        self.stem.load_state_dict({"weight": stem * gain[:, None, None, None].detach(), "bias": folded.bias})
        chained = self.network.model[8]
        side_by_side = SPP(chained.cv1.conv.in_channels, chained.cv2.conv.out_channels)
        for block in (side_by_side.cv1, side_by_side.cv2):
            block.bn, block.conv.bias = None, nn.Parameter(torch.zeros(block.conv.out_channels))
        side_by_side.load_state_dict(chained.state_dict())
        self.network.model[8] = side_by_side
        self.network.model[0] = _Phases(self.stem, self.network.model[0].act)

    def forward(self, images: Tensor) -> Tensor:
        head = self.network.model[-1]
        levels = []
        for raw in head.flat_maps(self.network.features(images)):
            box, objectness, classes = raw[:, :4], raw[:, 4:5], raw[:, 5:]
            levels.append(torch.cat([box, objectness.sigmoid(), classes.sigmoid()], dim=1).flatten(2))
        return torch.cat(levels, dim=2).permute(0, 2, 1)


class _Phases(nn.Module):
    def __init__(self, stem: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.act = stem, activation

    def forward(self, x: Tensor) -> Tensor:
        even, odd = x[..., ::2, :], x[..., 1::2, :]
        phases = (even[..., ::2], odd[..., ::2], even[..., 1::2], odd[..., 1::2])
        return self.act(self.conv(torch.cat(phases, dim=1)))


def blocks_of(model: nn.Module) -> Iterator[nn.Module]:
    """All convolutions of a model."""
    return (module for module in model.modules() if isinstance(module, nn.Conv2d))
