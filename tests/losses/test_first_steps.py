"""What heads without anchors learn in their first steps on real images: every target, classes, no term alone.

The numbers asked for are those that training on COCO and on small datasets has shown to be needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from torch import Tensor

from onelook.losses.points.grid import flatten_maps, point_grid
from onelook.losses.points.yolox_loss import Assignment
from onelook.losses.two_branches import TwoBranchLoss
from onelook.models.detector import create_model
from onelook.settings.train import TrainSettings
from onelook.structures.batch import Targets
from onelook.training.families import create_loss

STEPS = 60
PRIOR = 0.01
IMAGES = 8
BODY = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]], *[[-1, 1, "Conv", [16, 3, 2]]] * 3]
HEADS = {"Look": ["nc", 16, 16], "YoloX": ["nc", 16]}
FIRST_CLASS = {"Look": 4, "YoloX": 5}


def batch_of(data: Path) -> tuple[Tensor, Targets]:
    """The first training images of a dataset as they are, and their labels."""
    images, rows = [], []
    for number, path in enumerate(sorted((data.parent / "images" / "train").iterdir())[:IMAGES]):
        images.append(torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()).permute(2, 0, 1) / 255)
        label = data.parent / "labels" / "train" / f"{path.stem}.txt"
        rows += [[number, *map(float, line.split())] for line in label.read_text().splitlines()]
    table = torch.tensor(rows)
    return torch.stack(images), Targets(table[:, 0].long(), table[:, 1].long(), table[:, 2:])


@pytest.mark.parametrize("head", ["YoloX", pytest.param("Look", marks=pytest.mark.slow)])
def test_no_target_is_left_out_and_classes_rise_above_their_start(head: str, tiny_data: Path) -> None:
    table = {"nc": 2, "depth_multiple": 1.0, "width_multiple": 1.0, "backbone": BODY}
    model = create_model({**table, "head": [[[2, 3, 4], 1, head, HEADS[head]]]}, one_to_one=True).train()
    loss = create_loss(model, TrainSettings(), closing=0.85)
    assert isinstance(loss, TwoBranchLoss)
    images, targets = batch_of(tiny_data)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        raw_maps = model(images)
        found = loss(raw_maps, targets, step / STEPS)
        optimizer.zero_grad()
        found.total.backward()
        optimizer.step()
        for branch, maps in ((loss.many, raw_maps[:3]), (loss.one, raw_maps[3:])) if step % 5 == 0 else ():
            for rows in assigned(branch, maps, targets)[1:]:
                assert rows[: len(targets)].any(dim=1).all(), f"step {step}"
    for branch, maps in ((loss.many, raw_maps[:3]), (loss.one, raw_maps[3:])):
        positives, is_real, *_ = assigned(branch, maps, targets)
        outputs = flatten_maps(maps).flatten(0, 1)[positives.place[is_real]]
        class_ids = targets.class_ids[is_real.nonzero()[:, :1]]
        scores = outputs[:, FIRST_CLASS[head] :].gather(1, class_ids).sigmoid()
        assert scores.mean() > 3 * PRIOR


def test_no_term_rules_the_loss(tiny_data: Path) -> None:
    """Above 75 % the others would hardly be learned; classes would be lost first, below 15 %."""
    body = [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], *[[-1, 1, "Conv", [32, 3, 2]]] * 3]
    table = {"nc": 2, "depth_multiple": 1.0, "width_multiple": 1.0, "backbone": body}
    model = create_model({**table, "head": [[[2, 3, 4], 1, "Look", ["nc", 32, 32]]]}, one_to_one=False).train()
    loss = create_loss(model, TrainSettings())
    images, targets = batch_of(tiny_data)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    values = [loss(model(images), targets).values]
    for _step in range(STEPS):
        found = loss(model(images), targets)
        optimizer.zero_grad()
        found.total.backward()
        optimizer.step()
        values.append(found.values)
    shares = dict(zip(loss.columns, (values[-1] / values[-1].sum()).tolist(), strict=True))
    assert values[-1].sum() < values[0].sum() / 4
    assert max(shares.values()) <= 0.75, shares
    assert shares["cls"] >= 0.15, shares


def assigned(branch: Any, maps: list[Tensor], targets: Targets) -> tuple[Any, ...]:
    """The points of one branch, (M, k): which learn boxes and classes, and for YOLOX which are to be objects."""
    found = branch.assign(flatten_maps(maps), branch.prepare(maps, targets), point_grid(maps, branch.strides))
    if isinstance(found, Assignment):
        return found.positives, found.positives.is_real, found.is_object
    return found[0], found[0].is_real
