"""What heads without anchors learn in their first steps on real images: every target, classes, no term alone.

The numbers asked for are those that training on COCO and on small datasets has shown to be needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch
from torch import Tensor

from onelook.losses.points.distance_loss import DistanceLoss
from onelook.losses.points.grid import flatten_maps, point_grid
from onelook.losses.points.pairs import Positives
from onelook.losses.points.task_aligned import choose_aligned
from onelook.losses.points.yolox_loss import YoloxLoss
from onelook.losses.protocol import FamilyLoss
from onelook.models.detector import create_model
from onelook.settings.train import TrainSettings
from onelook.structures.batch import Targets
from onelook.training.families import create_loss

STEPS = 40
PRIOR = 0.01
IMAGES = 8
BODY = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]], *[[-1, 1, "Conv", [16, 3, 2]]] * 3]
HEADS = {"Look": ["nc", 16, 16], "YoloX": ["nc", 16]}


def batch_of(data: Path, num_images: int = IMAGES) -> tuple[Tensor, Targets]:
    """The first training images of a dataset as they are, and their labels."""
    images, rows = [], []
    for number, path in enumerate(sorted((data.parent / "images" / "train").iterdir())[:num_images]):
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
    images, targets = batch_of(tiny_data)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        raw_maps = model(images)
        found = loss(raw_maps, targets, step / STEPS)
        optimizer.zero_grad()
        found.total.backward()
        optimizer.step()
        for _maps, positives, is_taught in taught(loss, raw_maps, targets) if step % 5 == 0 else ():
            assert (is_taught & positives.is_real)[: len(targets)].any(dim=1).all(), f"step {step}"
    for maps, positives, is_taught in taught(loss, raw_maps, targets):
        outputs = flatten_maps(maps).flatten(0, 1)[positives.point[is_taught]]
        class_ids = targets.class_ids[is_taught.nonzero()[:, :1]]
        scores = outputs[:, -2:].gather(1, class_ids).sigmoid()
        assert scores.mean() > 3 * PRIOR


def test_no_term_rules_the_loss(tiny_data: Path) -> None:
    """Above 75 % the others would hardly be learned; classes would be lost first, below 15 %."""
    body = [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], *[[-1, 1, "Conv", [32, 3, 2]]] * 3]
    table = {"nc": 2, "depth_multiple": 1.0, "width_multiple": 1.0, "backbone": body}
    model = create_model({**table, "head": [[[2, 3, 4], 1, "Look", ["nc", 32, 32]]]}, one_to_one=False).train()
    loss = create_loss(model, TrainSettings())
    images, targets = batch_of(tiny_data, 4)
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


def taught(
    loss: FamilyLoss, raw_maps: list[Tensor], targets: Targets
) -> Iterator[tuple[list[Tensor], Positives, Tensor]]:
    """The maps of each branch, and which of the points of each target it teaches, (M, k) bool."""
    first, second = raw_maps[:3], raw_maps[3:]
    if isinstance(loss, DistanceLoss):
        prepared = loss.prepare(first, targets)
        fits = loss.fits(flatten_maps(first), prepared, point_grid(first, loss.strides))
        positives, _quality = choose_aligned(prepared.pairs, *fits)
        yield first, positives, positives.is_real
        positives = loss.objects(flatten_maps(second)[..., 4].flatten(), prepared.pairs, *fits)
        yield second, positives, positives.is_real
        return
    assert isinstance(loss, YoloxLoss)
    found = loss.assign(flatten_maps(first), loss.prepare(first, targets), point_grid(first, loss.strides))
    yield first, found.positives, found.positives.is_real
    yield second, found.positives, loss.objects(flatten_maps(second)[..., 4].flatten(), found)
