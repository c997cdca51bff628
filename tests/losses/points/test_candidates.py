"""In how few lengths the targets of points and their candidates come, and that none is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onelook.losses.points.candidates import PointTargets, Regions, point_targets
from onelook.losses.points.simota import CENTRE_CELLS, centre_regions
from onelook.losses.points.task_aligned import surrogate_regions
from onelook.structures.batch import Targets

STRIDES, NUM_IMAGES = (8.0, 16.0, 32.0), 16
MAPS = [torch.empty(NUM_IMAGES, 1, cells, cells, 1) for cells in (80, 40, 20)]


def batch_like_coco(rng: np.random.Generator) -> Targets:
    """7.3 boxes an image, in some images none and in others 50; most of them small."""
    image_index = np.repeat(np.arange(NUM_IMAGES), rng.negative_binomial(1.2, 1.2 / (1.2 + 7.3), NUM_IMAGES))
    side, ratio = np.exp(rng.normal(np.log(0.08), 1.1, len(image_index))), np.exp(rng.normal(0, 0.4, len(image_index)))
    sizes = np.stack([side * ratio, side / ratio], axis=1).clip(0.003, 1)
    centres = sizes / 2 + rng.uniform(size=sizes.shape) * (1 - sizes)
    boxes = torch.from_numpy(np.concatenate([centres, sizes], axis=1).astype(np.float32))
    return Targets(torch.from_numpy(image_index), torch.zeros(len(boxes), dtype=torch.int64), boxes)


def lengths(prepared: PointTargets) -> tuple[int, int, int]:
    return len(prepared.boxes), len(prepared.pairs.point), prepared.most_points


@pytest.mark.parametrize(("regions", "most_cells"), [(centre_regions, CENTRE_CELLS), (surrogate_regions, 0)])
def test_batches_come_in_few_lengths(regions: Regions, most_cells: int) -> None:
    """Each is recorded on its own."""
    rng = np.random.default_rng(0)
    batches = [batch_like_coco(rng) for _ in range(200)]
    found = {lengths(point_targets(MAPS, batch, STRIDES, regions, most_cells=most_cells)) for batch in batches}
    assert len({len(batch) for batch in batches}) > 50 and len(found) <= 15


def test_no_pair_is_lost_where_a_region_holds_more_cells_than_it_should() -> None:
    batch = batch_like_coco(np.random.default_rng(1))
    usual, narrow = (point_targets(MAPS, batch, STRIDES, centre_regions, most_cells=most) for most in (CENTRE_CELLS, 1))
    count = int(usual.pairs.counts.sum())
    assert lengths(narrow)[1] == count > 3 * lengths(usual)[0]
    assert torch.equal(narrow.pairs.point, usual.pairs.point[:count])
