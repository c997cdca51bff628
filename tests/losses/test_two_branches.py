"""Two branches: each learns from its own maps, as strongly as if it were alone."""

from __future__ import annotations

import pytest
import torch

from onelook.losses.points.distance_loss import DistanceLoss
from onelook.losses.two_branches import TwoBranchLoss
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Targets

TARGETS = Targets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[0.5, 0.5, 0.4, 0.4]]))


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_total_and_terms_are_those_of_both_branches(progress: float) -> None:
    many, one = (
        DistanceLoss((8.0,), num_classes=2, hyperparameters=Hyperparameters(), one_to_one=one_to_one)
        for one_to_one in (False, True)
    )
    generator = torch.Generator().manual_seed(2)
    maps = [torch.randn(1, 1, 6, 6, 6, generator=generator) for _branch in range(2)]
    both = TwoBranchLoss(many, one)
    found = both(maps, TARGETS, progress)
    parts = many(maps[:1], TARGETS, progress), one(maps[1:], TARGETS, progress)
    assert both.columns == ("box", "cls", "dist", "one_box", "one_cls", "one_dist")
    assert torch.equal(found.values, torch.cat([parts[0].values, parts[1].values]))
    assert torch.equal(found.total, parts[0].total + parts[1].total)
