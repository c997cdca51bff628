"""The loss of distances and classes against numbers worked out independently, and its invariants."""

from __future__ import annotations

import pytest
import torch

from onelook.geometry.iou import ciou, iou
from onelook.losses.points.distance_loss import DistanceLoss, box_terms, decode_distances, encode_distances
from onelook.losses.points.grid import flatten_maps, point_grid
from onelook.losses.points.pairs import Positives
from onelook.losses.points.task_aligned import choose_aligned
from onelook.losses.protocol import NOMINAL_IMAGES
from onelook.losses.terms import cross_entropy
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Targets

STRIDES = (8.0, 16.0, 32.0)
DOUBLE = torch.float64


def cxcywh(*corners: float) -> torch.Tensor:
    left, top, right, bottom = corners
    return torch.tensor([[(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]], dtype=DOUBLE)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (5, 5, 15, 15), (0.14285714, 0.03174603)),
        ((2, 3, 12, 9), (4, 1, 10, 13), (0.375, 0.34846395)),
        ((0, 0, 4, 4), (6, 0, 10, 4), (0, -0.31034483)),
        ((1, 2, 3, 4), (1, 2, 3, 4), (1, 1)),
    ],
)
def test_overlaps_are_those_of_the_papers(
    a: tuple[float, ...], b: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    found = [measure(cxcywh(*a), cxcywh(*b)).item() for measure in (iou, ciou)]
    assert found == pytest.approx(list(expected), abs=1e-6)


def test_one_point_has_the_box_and_the_terms_of_the_worked_example() -> None:
    grid = point_grid([torch.zeros(1, 1, 2, 3, 6, dtype=DOUBLE)], [8.0])
    point = torch.tensor([5])  # column 2, row 1: its middle is at (20, 12)
    distances = torch.tensor([[1.2, 0.9, 1.6, 1.1]], dtype=DOUBLE)
    goal, quality = cxcywh(11, 4, 35, 22), torch.tensor([0.7], dtype=DOUBLE)
    assert decode_distances(distances, grid, point)[0].tolist() == pytest.approx([10.4, 4.8, 32.8, 20.8])
    assert encode_distances(goal, grid, point)[0].tolist() == pytest.approx([1.125, 1, 1.875, 1.25])
    overlap, distance = box_terms(distances, grid, point, goal, quality)
    assert [overlap.item(), distance.item()] == pytest.approx([0.1486083463, 0.105], abs=1e-9)
    logits, goals = torch.tensor([0.4, -1.0], dtype=DOUBLE), torch.tensor([0.7, 0.0], dtype=DOUBLE)
    entropy = cross_entropy(logits, goals, positive_weight=1.0, focal_gamma=0.0).sum()
    assert entropy.item() == pytest.approx(0.9462769399, abs=1e-9)
    assert 0.5 * entropy.item() + 7.5 * overlap.item() + 1.5 * distance.item() == pytest.approx(1.7452010672, abs=1e-8)


def test_the_class_term_is_that_of_the_worked_example() -> None:
    logits = torch.tensor([[0.3, -1.2], [-2.0, 0.7]], dtype=DOUBLE)
    goals = torch.tensor([[0.0, 0.6], [0.0, 0.0]], dtype=DOUBLE)
    found = cross_entropy(logits, goals, positive_weight=1.0, focal_gamma=0.0).sum()
    assert found.item() == pytest.approx(3.0677517717349887, abs=1e-12)


@pytest.mark.parametrize("stride", STRIDES)
def test_the_distance_term_of_a_relative_box_is_the_same_on_every_map(stride: float) -> None:
    grid = point_grid([torch.zeros(1, 1, 2, 2, 5, dtype=DOUBLE)], [stride])
    goal = cxcywh(0.2, 0.1, 1.7, 1.4) * stride
    distances = torch.tensor([[0.5, 0.3, 1.0, 0.6]], dtype=DOUBLE)
    _overlap, distance = box_terms(distances, grid, torch.tensor([0]), goal, torch.ones(1, dtype=DOUBLE))
    assert distance.item() == pytest.approx((0.2 + 0.1 + 0.2 + 0.3) / 4)


def criterion(**changes: object) -> DistanceLoss:
    return DistanceLoss(STRIDES, num_classes=3, hyperparameters=Hyperparameters(), **changes)  # type: ignore[arg-type]


def random_maps(dtype: torch.dtype = torch.float32, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    sizes = [(8, 12), (4, 6), (2, 3)]
    maps = [torch.randn(2, 1, *size, 7, generator=generator) for size in sizes]
    for raw_map in maps:
        raw_map[..., :4] += 2
    return [(raw_map * scale).to(dtype).requires_grad_() for raw_map in maps]


def random_targets(number: int = 9) -> Targets:
    generator = torch.Generator().manual_seed(4)
    boxes = torch.rand(number, 4, generator=generator) * torch.tensor([1, 1, 0.5, 0.5])
    index = torch.randint(0, 2, (number,), generator=generator).sort().values
    return Targets(index, torch.randint(0, 3, (number,), generator=generator), boxes)


def assigned(loss: DistanceLoss, maps: list[torch.Tensor], targets: Targets) -> tuple[Positives, torch.Tensor]:
    prepared = loss.prepare(maps, targets)
    return choose_aligned(prepared.pairs, *loss.fits(flatten_maps(maps), prepared, point_grid(maps, STRIDES)))


def with_second(maps: list[torch.Tensor]) -> list[torch.Tensor]:
    """These maps, and those of a branch with a second objectness."""
    generator = torch.Generator().manual_seed(5)
    given = [torch.randn(*raw_map.shape[:-1], 1, generator=generator) for raw_map in maps]
    second = [
        torch.cat([raw_map.detach()[..., :4], own, raw_map.detach()[..., 4:]], dim=-1)
        for raw_map, own in zip(maps, given, strict=True)
    ]
    return [*maps, *(raw_map.requires_grad_() for raw_map in second)]


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_the_second_objectness_learns_one_point_of_each_target_and_leaves_the_other_terms(progress: float) -> None:
    maps, targets = with_second(random_maps()), random_targets()
    loss = criterion(one_to_one=True, early_share=0.5)
    found, alone = loss(maps, targets, progress), criterion(early_share=0.5)(maps[:3], targets, progress)
    assert loss.columns == ("box", "cls", "dist", "one_obj")
    assert torch.equal(found.values[:3], alone.values)
    logits = flatten_maps(maps[3:])[..., 4].detach().flatten()
    prepared = loss.prepare(maps, targets)
    scores, ious = loss.fits(flatten_maps(maps[:3]), prepared, point_grid(maps[:3], STRIDES))
    positives, _quality = choose_aligned(
        prepared.pairs, logits.sigmoid()[prepared.pairs.point] * scores, ious, one_to_one=True
    )
    goals = torch.zeros_like(logits)
    goals[positives.point[positives.is_real]] = 1
    num_objects = goals.sum()
    assert num_objects == positives.is_real.sum() == len(targets)
    entropy = cross_entropy(logits, goals, positive_weight=1.0, focal_gamma=0.0).sum() / num_objects
    assert found.values[3].item() == pytest.approx(entropy.item(), rel=1e-6)
    found.total.backward()
    for raw_map in maps[3:]:
        assert raw_map.grad is not None
        assert torch.count_nonzero(raw_map.grad[..., 4]) and not raw_map.grad[..., :4].any()
        assert not raw_map.grad[..., 5:].any()


def test_an_image_without_targets_teaches_classes_only() -> None:
    maps, nothing = random_maps(), torch.zeros(0, dtype=torch.long)
    found = criterion()(maps, Targets(nothing, nothing, torch.zeros(0, 4)))
    found.total.backward()
    assert found.values[0] == found.values[2] == 0 < found.values[1]
    for raw_map in maps:
        assert raw_map.grad is not None
        assert torch.count_nonzero(raw_map.grad[..., :4]) == 0


@pytest.mark.parametrize("one_to_one", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1.0, -1.0, 100.0, 1e8, 1e30])
def test_loss_and_gradient_are_finite_for_every_finite_output(one_to_one: bool, scale: float) -> None:
    maps = with_second(random_maps(scale=scale)) if one_to_one else random_maps(scale=scale)
    boxes = torch.tensor([[0.5, 0.5, 0, 0], [0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 0.1, 0.1]])
    targets = Targets(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]), boxes)
    found = criterion(one_to_one=one_to_one)(maps, targets)
    found.total.backward()
    assert found.total.isfinite()
    assert all(raw_map.grad is not None and raw_map.grad.isfinite().all() for raw_map in maps)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_of_half_precision_maps_is_computed_in_float32(dtype: torch.dtype) -> None:
    halves = random_maps(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = criterion()(halves, random_targets())
    assert found.values.dtype == torch.float32
    assert torch.equal(found.values, criterion()([raw_map.float() for raw_map in halves], random_targets()).values)


def test_label_smoothing_lowers_the_goal_of_positives_and_lifts_no_other() -> None:
    maps, targets = random_maps(), random_targets()
    _positives, quality = assigned(criterion(), maps, targets)
    smooth = DistanceLoss(STRIDES, num_classes=3, hyperparameters=Hyperparameters(label_smoothing=0.5))
    (smooth(maps, targets).total - criterion()(maps, targets).total).backward()
    gradient = torch.cat([raw_map.grad[..., 4:].flatten() for raw_map in maps if raw_map.grad is not None])
    changed = gradient[gradient.abs() > 1e-9]
    assert len(changed) == torch.count_nonzero(quality > 1e-6)
    assert (changed > 0).all()


def test_classes_are_told_apart_at_positives_by_the_quality_of_their_boxes() -> None:
    maps, targets = random_maps(), random_targets()
    positives, quality = assigned(criterion(), maps, targets)
    softmax = DistanceLoss(STRIDES, num_classes=3, hyperparameters=Hyperparameters(cls=0, cls_softmax=4))
    found = softmax(maps, targets)
    logits = flatten_maps(maps)[..., 4:].detach().flatten(0, 1)
    expected, slopes = 0.0, torch.zeros_like(logits)
    for row, class_id in enumerate(targets.class_ids):
        for point, weight in zip(positives.point[row], quality[row], strict=True):
            shares = logits[point].softmax(dim=0)
            expected -= 4 * weight * shares[class_id].log() / quality.sum()
            slopes[point] += 4 * weight * (shares - torch.eye(3)[class_id]) / quality.sum() * 2 / NOMINAL_IMAGES
    assert found.values[1] == pytest.approx(float(expected), rel=1e-5)
    found.total.backward()
    gradient = torch.cat([raw_map.grad.flatten(1, 3) for raw_map in maps if raw_map.grad is not None], dim=1)
    torch.testing.assert_close(gradient.flatten(0, 1)[:, 4:], slopes, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("progress", "floor"), [(0.0, 1.0), (0.1, 0.75), (0.4, 0.0), (1.0, 0.0)])
def test_early_in_a_run_classes_are_taught_more_than_the_quality_of_boxes(progress: float, floor: float) -> None:
    maps, targets = random_maps(), random_targets()
    positives, quality = assigned(criterion(), maps, targets)
    criterion(early_share=0.4)(maps, targets, progress).total.backward()
    logits = flatten_maps(maps)[..., 4:].detach().flatten(0, 1)
    slopes = torch.cat([raw_map.grad.flatten(1, 3) for raw_map in maps if raw_map.grad is not None], dim=1)
    goals = logits.sigmoid() - slopes.flatten(0, 1)[:, 4:] * quality.sum() / (0.5 * 2 / NOMINAL_IMAGES)
    expected = torch.zeros_like(logits)
    for row, class_id in enumerate(targets.class_ids):
        real = positives.is_real[row]
        expected[positives.point[row][real], class_id] = (quality + (1 - quality) * floor)[row][real]
    torch.testing.assert_close(goals, expected, rtol=0, atol=1e-5)


def test_training_moves_every_term_and_leaves_none_to_rule() -> None:
    """Shares of the terms after 100 steps: an L1 term in pixels, say, would be nearly all of the loss."""
    maps = [raw_map.detach().clone() for raw_map in random_maps()]
    for raw_map in maps:
        raw_map[..., 4:] -= 4.6
        raw_map.requires_grad_()
    optimizer = torch.optim.SGD(maps, lr=2.0)
    loss, targets = criterion(), random_targets()
    first = loss(maps, targets).values.sum()
    for _step in range(100):
        optimizer.zero_grad()
        loss(maps, targets).total.backward()
        optimizer.step()
    values = loss(maps, targets).values
    share = values / values.sum()
    assert values.sum() < first / 2
    assert share.max() <= 0.75
    assert share[1] >= 0.15
    positives, _quality = assigned(loss, maps, targets)
    assert positives.is_real[: len(targets)].any(dim=1).all() and not positives.is_real[len(targets) :].any()
