"""SimOTA and the YOLOX loss against numbers worked out independently, and how the loss behaves at its limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from plain_points import owned, pairs_of

from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.iou import iou
from onelook.losses.points.candidates import PointTargets
from onelook.losses.points.grid import PointGrid, flatten_maps, point_grid
from onelook.losses.points.simota import choose_cheapest, pair_costs, points_wanted
from onelook.losses.points.yolox_loss import Assignment, YoloxLoss, encode_boxes
from onelook.losses.protocol import NOMINAL_IMAGES
from onelook.models.decoding import boxes_of_points
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Targets

STRIDES = (8.0, 16.0, 32.0)


def targets_of(boxes_xyxy: list[tuple[float, ...]], class_ids: list[int], side: float = 32.0) -> Targets:
    corners = torch.tensor(boxes_xyxy, dtype=torch.float64).view(-1, 4)
    boxes = torch.cat([(corners[:, 0:2] + corners[:, 2:4]) / 2, corners[:, 2:4] - corners[:, 0:2]], dim=1) / side
    return Targets(torch.zeros(len(boxes), dtype=torch.long), torch.tensor(class_ids, dtype=torch.long), boxes)


def reference_map(larger: float = 0.0) -> torch.Tensor:
    """One 4 x 4 map of two classes, made up."""
    j = torch.arange(16, dtype=torch.float64)
    columns = [
        0.5 + 0.1 * ((3 * j) % 5 - 2),
        0.5 + 0.1 * ((2 * j) % 5 - 2),
        0.6 + 0.15 * (j % 3) + larger,
        0.7 + 0.1 * (j % 4) + larger,
        (5 * j) % 7 - 4,
        ((3 * j) % 7) / 2 - 2,
        ((5 * j) % 6) / 2 - 2,
    ]
    return torch.stack(columns, dim=1).view(1, 1, 4, 4, 7).requires_grad_()


def criterion(num_classes: int = 2, strides: tuple[float, ...] = (8.0,), **options: object) -> YoloxLoss:
    return YoloxLoss(strides, num_classes=num_classes, hyperparameters=Hyperparameters(), **options)  # type: ignore[arg-type]


def assigned(loss: YoloxLoss, raw_maps: list[torch.Tensor], targets: Targets) -> Assignment:
    return loss.assign(
        flatten_maps(raw_maps).detach(), loss.prepare(raw_maps, targets), point_grid(raw_maps, loss.strides)
    )


THREE = targets_of([(2, 2, 22, 22), (10, 10, 30, 30), (13, 1, 17, 5)], [0, 1, 0])
TWO = targets_of([(0, 0, 32, 32), (13, 1, 17, 5)], [1, 0])


@pytest.mark.parametrize(
    ("larger", "targets", "owners", "terms", "total"),
    [
        (
            0.0,
            THREE,
            {1: 0, 4: 0, 5: 0, 9: 1, 10: 1, 15: 1},
            [3.766538935, 1.768656555, 1.438578354, 1.252151226],
            8.225925071,
        ),
        (0.5, TWO, {5: 0, 9: 0, 10: 0, 4: 1}, [3.593035633, 3.152984832, 1.470163326, 2.539720762], 10.755904554),
    ],
)
def test_owners_and_terms_are_those_of_the_worked_examples(
    larger: float, targets: Targets, owners: dict[int, int], terms: list[float], total: float
) -> None:
    loss = criterion(rescue=False)
    raw = reference_map(larger)
    assert owned(assigned(loss, [raw], targets).positives) == owners
    found = loss([raw], targets, progress=1.0)
    assert found.values.tolist() == pytest.approx(terms, abs=2e-8)
    assert found.total.item() * NOMINAL_IMAGES == pytest.approx(total, abs=2e-8)


class WiderLoss(YoloxLoss):
    """With the candidates that YOLOX had until January 2023: points in any box or near any middle, with a penalty."""

    def assign(self, outputs: torch.Tensor, prepared: PointTargets, grid: PointGrid) -> Assignment:
        points, boxes = outputs[0], prepared.boxes[: len(TWO)]
        predicted = boxes_of_points(points, grid.cells, grid.stride_px)
        middles = (grid.cells + 0.5) * grid.stride_px
        offsets = (middles - boxes[:, None, :2]).abs()  # (M, P, 2)
        is_near = (offsets < 2.5 * grid.stride_px).all(dim=2)
        is_inside = (offsets < boxes[:, None, 2:] / 2).all(dim=2)
        candidates = (is_near | is_inside).any(dim=0).nonzero().flatten().tolist()
        pairs = pairs_of([candidates] * len(TWO) + [[]] * (len(prepared.boxes) - len(TWO)), len(points))
        target, point = pairs.target, pairs.point
        ious = iou(predicted[point], boxes[target])
        costs = pair_costs(points[point, 4], points[point, 5:], prepared.class_ids[target], ious)
        costs += 1e5 * ~(is_near & is_inside)[target, point]
        wider = replace(prepared, pairs=pairs, most_points=len(points))
        corners = cxcywh_to_xyxy(prepared.boxes), cxcywh_to_xyxy(predicted[point])
        found = choose_cheapest(pairs, costs, points_wanted(wider, *corners, num_images=1), rescue=False)
        return Assignment(found, torch.zeros_like(found.is_real, dtype=torch.float64))


def test_older_candidates_give_the_numbers_of_their_worked_example() -> None:
    """Costs, number of points and terms are ours: a check on more points than our own candidates have."""
    loss = WiderLoss((8.0,), num_classes=2, hyperparameters=Hyperparameters())
    raw = reference_map(0.5)
    assert owned(assigned(loss, [raw], TWO).positives) == {4: 1, 5: 0, 8: 0, 9: 0, 10: 0}
    found = loss([raw], TWO, progress=1.0)
    assert found.values.tolist() == pytest.approx([3.687585916, 2.322387866, 1.409575494, 2.411776610], abs=2e-8)
    assert found.total.item() * NOMINAL_IMAGES == pytest.approx(9.831325885, abs=2e-8)


def test_the_gradient_is_that_of_the_worked_example() -> None:
    raw = reference_map()
    (criterion(rescue=False)([raw], THREE, progress=1.0).total * NOMINAL_IMAGES).backward()
    assert raw.grad is not None
    assert raw.grad.abs().sum().item() == pytest.approx(10.285910341, abs=2e-8)


def test_every_target_with_candidates_learns_with_the_rescue() -> None:
    alone = assigned(criterion(rescue=False), [reference_map()], THREE).positives
    assert not alone.is_real[2].any()
    rescued = assigned(criterion(), [reference_map()], THREE).positives
    assert rescued.is_real[:3].sum(dim=1).min() == 1


def second_map() -> torch.Tensor:
    """The second objectness of the reference map, made up; all else in it is not looked at."""
    raw = torch.full((1, 1, 4, 4, 8), torch.nan, dtype=torch.float64)
    raw[..., 4] = (((7 * torch.arange(16)) % 5) / 2 - 2).view(4, 4)
    return raw.requires_grad_()


def test_the_second_objectness_is_taught_where_it_and_class_and_box_agree_best() -> None:
    raw, second = reference_map().detach(), second_map().detach()[..., 4].flatten()
    loss = criterion(one_to_one=True)
    prepared = loss.prepare([raw], THREE)
    found = assigned(loss, [raw], THREE)
    points = raw[0, 0].flatten(0, 1)
    objects = owned(found.positives, loss.objects(second, found))
    assert sorted(objects.values()) == [0, 1, 2]
    for point, target in objects.items():
        own = torch.tensor([other for other, owner in owned(found.positives).items() if owner == target])
        cells, here = torch.stack([own % 4, own // 4], dim=1), points[own]
        goals = prepared.boxes[target].expand(len(own), -1)
        overlap = iou(boxes_of_points(here, cells, 8.0), goals)
        score = second[own].sigmoid() * here[:, 5 + int(prepared.class_ids[target])].sigmoid()
        assert point == own[(score * overlap**6).argmax()]


def test_a_second_objectness_is_one_term_more_and_changes_no_other() -> None:
    raw, second = reference_map(), second_map()
    loss = criterion(one_to_one=True)
    found, alone = loss([raw, second], THREE), criterion()([reference_map()], THREE)
    assert loss.columns == (*criterion().columns, "one_obj")
    assert torch.equal(found.values[:4], alone.values)
    logits = second.detach()[..., 4].flatten()
    assignment = assigned(loss, [raw], THREE)
    objects = sorted(owned(assignment.positives, loss.objects(logits, assignment)))
    is_object = torch.zeros(16, dtype=torch.float64).index_fill_(0, torch.tensor(objects), 1)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, is_object, reduction="sum")
    assert found.values[4].item() == pytest.approx(entropy.item() / 3)
    found.total.backward()
    assert raw.grad is not None and second.grad is not None
    other = reference_map()
    criterion()([other], THREE).total.backward()
    assert other.grad is not None
    assert torch.equal(raw.grad, other.grad)
    pushed_up = (second.grad[..., 4].flatten() < 0).nonzero().flatten().tolist()
    assert pushed_up == objects
    assert torch.count_nonzero(second.grad[..., :4]) == torch.count_nonzero(second.grad[..., 5:]) == 0


def test_without_targets_only_objectness_learns() -> None:
    raw = reference_map()
    found = criterion()([raw], targets_of([], []), progress=1.0)
    objectness = torch.nn.functional.softplus(raw[..., 4]).sum().item()
    assert found.values.tolist() == pytest.approx([0, objectness, 0, 0])
    found.total.backward()
    assert raw.grad is not None
    assert torch.count_nonzero(raw.grad[..., :4]) == torch.count_nonzero(raw.grad[..., 5:]) == 0


def test_raw_boxes_are_compared_in_the_last_part_only() -> None:
    loss = criterion()
    early, late = (loss([reference_map()], THREE, progress=progress).values for progress in (0.84, 0.85))
    assert early.tolist()[:3] == late.tolist()[:3]
    assert early[3] == 0
    assert late[3] > 1


def random_maps(
    dtype: torch.dtype, num_classes: int, batch: int = 2, *, one_to_one: bool = False
) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    sizes = [(8, 12), (4, 6), (2, 3)]
    return [
        torch.randn(batch, 1, *size, width + num_classes, generator=generator).to(dtype)
        for width in ((5, 6) if one_to_one else (5,))
        for size in sizes
    ]


def random_targets(number: int, num_classes: int) -> Targets:
    generator = torch.Generator().manual_seed(4)
    boxes = torch.rand(number, 4, generator=generator) * torch.tensor([1, 1, 0.5, 0.5])
    index = torch.randint(0, 2, (number,), generator=generator).sort().values
    return Targets(index, torch.randint(0, num_classes, (number,), generator=generator), boxes)


@pytest.mark.parametrize("one_to_one", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e8, 1e30])
def test_loss_and_gradient_are_finite_for_every_finite_output(one_to_one: bool, scale: float) -> None:
    maps = random_maps(torch.float32, 3, one_to_one=one_to_one)
    raw = [(raw_map * scale).requires_grad_() for raw_map in maps]
    boxes = torch.tensor([[0.5, 0.5, 0, 0], [0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 0.1, 0.1]])
    targets = Targets(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]), boxes)
    found = criterion(3, STRIDES, one_to_one=one_to_one)(raw, targets, progress=1.0)
    found.total.backward()
    assert found.total.isfinite()
    assert all(raw_map.grad is not None and raw_map.grad.isfinite().all() for raw_map in raw)


@pytest.mark.parametrize("one_to_one", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_of_half_precision_maps_is_computed_in_float32(one_to_one: bool, dtype: torch.dtype) -> None:
    loss, targets = criterion(3, STRIDES, one_to_one=one_to_one), random_targets(9, 3)
    halves = random_maps(dtype, 3, one_to_one=one_to_one)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(halves, targets, progress=1.0)
    assert found.total.dtype == found.values.dtype == torch.float32
    assert torch.equal(found.values, loss([raw_map.float() for raw_map in halves], targets, progress=1.0).values)


def test_targets_of_one_image_do_not_depend_on_those_of_another() -> None:
    loss, targets = criterion(3, STRIDES, one_to_one=True), random_targets(12, 3)
    maps = random_maps(torch.float32, 3, one_to_one=True)
    raw, second = maps[:3], flatten_maps([raw_map[..., 4:5] for raw_map in maps[3:]])[..., 0]
    both = assigned(loss, raw, targets)
    num_points = second.shape[1]
    is_second = targets.image_index == 1
    alone = Targets(targets.image_index[is_second] - 1, targets.class_ids[is_second], targets.boxes[is_second])
    single = assigned(loss, [raw_map[1:] for raw_map in raw], alone)
    for chosen, expected in (
        (both.positives.is_real, single.positives.is_real),
        (loss.objects(second.flatten(), both), loss.objects(second[1], single)),
    ):
        chosen_points = [point - num_points for point in owned(both.positives, chosen) if point >= num_points]
        assert chosen_points == list(owned(single.positives, expected))


def test_encoding_is_the_inverse_of_decoding() -> None:
    boxes = torch.tensor([[20.0, 12.0, 30.0, 7.0]], dtype=torch.float64)
    cells, stride_px = torch.tensor([[2.0, 1.0]], dtype=torch.float64), torch.tensor([[8.0]])
    raw = encode_boxes(boxes, cells, stride_px)
    assert raw[0, :2].tolist() == [0.5, 0.5]
    assert boxes_of_points(raw, cells, stride_px).tolist() == [pytest.approx(boxes[0].tolist())]
