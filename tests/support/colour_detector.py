"""A detector made by hand, which finds green and blue squares of 24 pixels exactly, and images of such squares."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from onelook.models.detector import create_model
from onelook.runs.checkpoint import save_checkpoint

NAMES = ("green", "blue")
SIDE, CELL, SQUARE = 96, 8, 24
TABLE = f"""\
depth_multiple: 1.0
width_multiple: 1.0
anchors:
  - [{SQUARE}, {SQUARE}]
backbone:
  - [-1, 1, Conv, [8, {SQUARE}, {CELL}, {CELL}]]
head:
  - [[0], 1, Detect, [nc, anchors]]
"""


def write_detector(folder: Path) -> Path:
    """The checkpoint: a cell that sees a whole square of a colour says so, with a score of 0.97; others are silent."""
    table = folder / "colours.yaml"
    table.write_text(TABLE)
    model = create_model(str(table), num_classes=2, names=NAMES)
    tensors = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_var", "bn.weight")):
            tensors[name] = torch.ones_like(tensor)
        if name.endswith("anchors"):
            tensors[name] = tensor
    convolution, head, bias = (
        next(n for n in tensors if n.endswith(end)) for end in ("conv.weight", "0.weight", "0.bias")
    )
    for channel, colour in enumerate((1, 2)):  # mean of green, or blue, less that of red, times 10
        tensors[convolution][channel, colour] = 10 / SQUARE**2
        tensors[convolution][channel, 0] = -10 / SQUARE**2
    tensors[head][4, :2], tensors[bias][4] = 4.0, -4.0 * 6.2
    for class_id in (0, 1):
        tensors[head][5 + class_id, class_id], tensors[head][5 + class_id, 1 - class_id] = 3.0, -3.0
    path = folder / "colours.safetensors"
    document = {"kind": "detector", "names": list(NAMES), "definition": model.definition, "made_with": {}}
    save_checkpoint(path, {f"ema/{name}": tensor for name, tensor in tensors.items()}, document)
    return path


def write_squares(folder: Path, *, train: int = 20, val: int = 4) -> Path:
    """Images with two to four squares apart from each other, all labelled; the path of the YAML."""
    rng = np.random.Generator(np.random.Philox(key=7))
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            grey = cv2.resize(rng.integers(0, 80, (7, 7), np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            image, rows = np.repeat(grey[..., None], 3, axis=2), []
            corners = rng.permutation([(x, y) for x in (8, 56) for y in (8, 56)])[: rng.integers(2, 5)]
            for left, top in corners.tolist():
                kind_id = int(rng.integers(2))
                bgr = (40, 220, 40) if kind_id == 0 else (220, 40, 40)
                image[top : top + SQUARE, left : left + SQUARE] = bgr
                rows.append(f"{kind_id} {(left + 12) / SIDE} {(top + 12) / SIDE} {SQUARE / SIDE} {SQUARE / SIDE}\n")
            cv2.imwrite(str(folder / f"images/{split}/{number:02}.png"), image)
            (folder / f"labels/{split}/{number:02}.txt").write_text("".join(rows))
    yaml = folder / "data.yaml"
    yaml.write_text(f"path: .\ntrain: images/train\nval: images/val\nnames: [{', '.join(NAMES)}]\n")
    return yaml
