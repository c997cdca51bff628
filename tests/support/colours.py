"""A model made by hand that sees red and green cells, and images for it: it detects, and converts in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onelook.exports.metadata import Metadata
from onelook.exports.plan import ExportPlan
from onelook.files.images import write_image
from onelook.models.detector import DetectionModel, create_model
from onelook.models.fuse import fuse
from onelook.runs.checkpoint import save_checkpoint

NAMES = ("red", "green")
STRIDE = 8


def colour_detector(*, cell: int = STRIDE, names: Sequence[str] = NAMES) -> DetectionModel:
    """Every cell of `cell` x `cell` pixels that is red (class 0) or green (class 1) is an object of just that cell."""
    table = {
        "nc": len(names), "depth_multiple": 1.0, "width_multiple": 1.0, "anchors": [[cell, cell]],
        "backbone": [[-1, 1, "Conv", [8, cell, cell, 0]]], "head": [[[0], 1, "Detect", ["nc", "anchors"]]],
    }  # fmt: skip
    model = create_model(table, names=names)
    model.eval().requires_grad_(False)
    convolution, head = model.model[0].conv, model.head.m[0]
    convolution.weight.zero_()
    convolution.weight[0, 0] = convolution.weight[1, 1] = 1 / cell**2
    convolution.weight[0, 1] = convolution.weight[1, 0] = -1 / cell**2
    head.weight.zero_()
    head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, -10.0, 0.0, 0.0, *[-20.0] * (len(names) - 2)]))
    head.weight[4, :2, 0, 0] = 25.0
    head.weight[5:7, :2, 0, 0] = torch.tensor([[9.0, -9.0], [-9.0, 9.0]])
    return model


def checkpoint_of(model: DetectionModel, path: Path, branch: str = "many") -> Path:
    """`model` written to `path` as weights, of whose branches `branch` was better."""
    tensors = {f"ema/{name}": tensor for name, tensor in model.state_dict().items()}
    content = {"kind": "detector", "names": list(model.names), "definition": model.definition, "branch": branch}
    save_checkpoint(path, tensors, content)
    return path


def plan_of(model: DetectionModel | None = None, **metadata: object) -> ExportPlan:
    """The plan of an export with these fields of its metadata; of any size and number of images unless said."""
    fused = fuse(model or colour_detector())
    content = Metadata(names=fused.names, stride=fused.max_stride, **metadata)  # type: ignore[arg-type]
    return ExportPlan(fused, content, content.frame_hw or (64, 96))


def images(count: int, height: int, width: int) -> torch.Tensor:
    """(count, 3, height, width) from 0 to 1, with coloured cells."""
    rng = np.random.Generator(np.random.Philox(key=count * height + width))
    drawn = rng.random((count, 3, height // STRIDE, width // STRIDE), dtype=np.float32)
    cells = 0.9 * np.clip(2 * drawn - 0.5, 0, 1) + 0.1 * drawn  # many full colours, and no two scores alike
    return torch.from_numpy(cells.repeat(STRIDE, 2).repeat(STRIDE, 3))


def write_data(folder: Path, *, shift: int = 0) -> Path:
    """A dataset of red and green cells on black: 6 images to train on, 4 to validate on; the path of the YAML.

    The cells lie on the grid of the detector, or `shift` pixels to the right of it and below.
    """
    for split, count in {"train": 6, "val": 4}.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            rng = np.random.Generator(np.random.Philox(key=number + 100 * count))
            image, rows = np.zeros((64, 64, 3), np.uint8), []
            for order, place in enumerate(rng.permutation(49)[:5].tolist()):
                (y, x), channel = (8 * cell + shift for cell in divmod(place, 7)), place % 2
                # No two cells score the same, and no two images have the same range.
                image[y : y + 8, x : x + 8, channel] = 245 + 2 * number - 3 * order
                rows.append(f"{channel} {(x + 4) / 64} {(y + 4) / 64} 0.125 0.125")
            write_image(folder / "images" / split / f"{number}.png", image)
            (folder / "labels" / split / f"{number}.txt").write_text("\n".join(rows) + "\n")
    yaml = folder / "data.yaml"
    yaml.write_text("path: .\ntrain: images/train\nval: images/val\nnames: [red, green]\n")
    return yaml


@dataclass(frozen=True)
class Bench:
    """Where a test of exports lives.

    Attributes:
        weights: the colour detector as a checkpoint.
        data: YAML of the dataset.
        work: the current folder.
    """

    weights: Path
    data: Path
    work: Path

    @property
    def given(self) -> dict[str, Any]:
        """Settings of a small export to ONNX."""
        return {"weights": self.weights, "imgsz": 64, "device": "cpu"}
