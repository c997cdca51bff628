"""Heads with two branches: shapes, start, what they learn from, and what is taken over from other weights."""

from __future__ import annotations

import copy
import itertools
import math
from functools import cache

import pytest
import torch
from torch import Tensor

from onelook.errors import ModelError
from onelook.geometry.iou import box_iou
from onelook.models.convolutions import Conv
from onelook.models.count import count_gflops, count_parameters
from onelook.models.decoding import confidences, decoded
from onelook.models.detector import DetectionModel, create_model
from onelook.models.distance_head import DistanceHead
from onelook.models.rivals import leads_of_rivals
from onelook.models.transfer import transfer_detector


def yolox_with_two_branches(names: tuple[str, ...], seed: int = 0) -> DetectionModel:
    return create_model("yolox-nano", names=names, seed=seed, one_to_one=True)


def with_two_branches(name: str) -> DetectionModel:
    return create_model(name, num_classes=2) if name == "onelook5n" else yolox_with_two_branches(("a", "b"))


@cache
def decoder(head: str) -> DetectionModel:
    """A small model whose head decodes maps of strides 8, 16 and 32; changed by no test."""
    table = {"nc": 2, "depth_multiple": 1.0, "width_multiple": 1.0}
    body = [[-1, 1, "Conv", [8, 3, 2]] for _ in range(5)]
    return create_model({**table, "backbone": body, "head": [[[2, 3, 4], 1, head, ["nc", 8]]]}, one_to_one=True)


# s and m are the blocks of n in other numbers.
@pytest.mark.parametrize(
    ("name", "body", "deployed", "deployed_3", "second"),
    [
        ("onelook5n", 1_757_152, 1_978_972, 1_963_957, 12_675),
        pytest.param("onelook5s", 7_006_144, 7_607_708, 7_585_301, 25_923, marks=pytest.mark.slow),
        pytest.param("onelook5m", 20_847_072, 22_006_044, 21_976_245, 43_779, marks=pytest.mark.slow),
        ("onelookx-nano", 807_392, 1_029_212, 1_014_197, 12_675),
    ],
)
def test_parameter_counts_are_those_of_the_design(
    name: str, body: int, deployed: int, deployed_3: int, second: int
) -> None:
    with torch.device("meta"):
        model, fewer = create_model(name), create_model(name, num_classes=3)
        without_nms = create_model(name, num_classes=3)
    assert count_parameters(model) == deployed + second
    model.keep_branch("many")
    fewer.keep_branch("many")
    without_nms.keep_branch("one")
    assert count_parameters(model) == deployed
    assert count_parameters(fewer) == deployed_3
    assert count_parameters(without_nms) == deployed_3 + second
    assert count_parameters(model) - count_parameters(model.model[-1]) == body


@pytest.mark.parametrize(("name", "gflops"), [("onelook5n", 4.94), ("onelook5s", 17.89), ("onelook5m", 51.93)])
def test_operations_of_one_branch_are_those_of_the_design(name: str, gflops: float) -> None:
    with torch.device("meta"):
        model = create_model(name)
    model.keep_branch("many")
    for module in model.modules():
        if isinstance(module, Conv):
            module.bn = None  # as once it is folded away
    assert count_gflops(model) == pytest.approx(gflops, abs=0.006)


@pytest.mark.parametrize("name", ["onelook5n", "onelookx-nano"])
def test_a_new_head_expects_rare_classes_and_boxes_of_four_cells(name: str) -> None:
    model = create_model(name, num_classes=3).eval()
    maps = model(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert [tuple(raw.shape[2:4]) for raw in maps] == [(64 // s, 64 // s) for s in (8, 16, 32, 8, 16, 32)]
    for raw in maps:
        assert raw[..., :4].mean().item() == pytest.approx(2, abs=0.1)
        assert raw[..., 4:].sigmoid().mean().item() == pytest.approx(0.01, abs=0.002)


def test_decoded_distances_are_the_box_of_the_worked_example() -> None:
    head = DistanceHead([8], num_classes=2, one_to_one=False)
    head.initialise([8], None)
    raw = torch.zeros(1, 1, 2, 3, 6)
    raw[0, 0, 1, 2] = torch.tensor([1.2, 0.9, 1.6, 1.1, 0.0, math.log(3)])
    row = head.decode([raw])[0, 5]
    assert row.tolist() == pytest.approx([21.6, 12.8, 22.4, 16.0, 1.0, 0.5, 0.75])
    assert torch.equal(decoded([raw], head.decoding()), head.decode([raw]))


@pytest.mark.parametrize("name", ["onelook5n", "yolox"])
def test_the_second_branch_does_not_change_the_features(name: str) -> None:
    model = with_two_branches(name)
    maps = model(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    torch.stack([raw.square().sum() for raw in maps[3:]]).sum().backward()
    touched = {name.split(".")[2] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {"one"}


@pytest.mark.parametrize("branch", ["many", "one"])
@pytest.mark.parametrize("name", ["onelook5n", "yolox"])
def test_a_kept_branch_gives_what_it_gave_beside_the_other(name: str, branch: str) -> None:
    model = with_two_branches(name).eval()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    both: list[Tensor] = model(images)
    assert model.branches == ("many", "one")
    model.keep_branch(branch)  # type: ignore[arg-type]
    assert model.branches == (branch,)
    assert model.head.needs_nms == (branch == "many")
    expected = both[:3] if branch == "many" else both[3:]
    assert all(torch.equal(raw, other) for raw, other in zip(model(images), expected, strict=True))
    with pytest.raises(ModelError, match=f"no branch `{'one' if branch == 'many' else 'many'}`"):
        model.keep_branch("one" if branch == "many" else "many")


def test_a_model_without_second_branch_says_so() -> None:
    model = create_model("yolov5n")
    model.keep_branch("many")
    with pytest.raises(ModelError, match="no branch `one`"):
        model.keep_branch("one")


def test_a_body_of_another_family_is_taken_over_whole() -> None:
    old, new = create_model("yolov5n", num_classes=2, seed=1), create_model("onelook5n", num_classes=3)
    report = transfer_detector(new, old.state_dict(), old.names)
    assert report.copied == 342
    assert all(name.startswith("model.24.") for name in report.skipped)
    assert report.new_classes == new.names


def test_classes_are_found_by_name_and_the_second_objectness_is_taken_over() -> None:
    old = create_model("onelook5n", names=("cat", "dog", "cow"), seed=1)
    new = create_model("onelook5n", names=("cow", "owl"))
    own = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    report = transfer_detector(new, old.state_dict(), old.names)
    assert report.classes == ("cow",)
    assert report.new_classes == ("owl",)
    name, second = "model.24.cls_preds.1.weight", "model.24.one.obj_preds.0.weight"
    assert torch.equal(new.state_dict()[name][0], old.state_dict()[name][2])
    assert torch.equal(new.state_dict()[name][1], own[name][1])
    assert torch.equal(new.state_dict()[second], old.state_dict()[second])


@pytest.mark.parametrize("names", [("a", "b"), ("b", "c", "d")])
def test_a_missing_second_objectness_starts_as_a_copy_of_the_first(names: tuple[str, ...]) -> None:
    old, new = create_model("yolox-nano", names=("a", "b"), seed=1), yolox_with_two_branches(names)
    report = transfer_detector(new, old.state_dict(), old.names)
    given, state = old.state_dict(), new.state_dict()
    second = {name.replace(".one.", "."): tensor for name, tensor in state.items() if ".one." in name}
    assert {name.split(".")[2] for name in second} == {"reg_convs", "obj_preds"}
    assert all(torch.equal(tensor, given[name]) for name, tensor in second.items())
    assert report.new_classes == (() if names == old.names else names[1:])


def test_a_second_objectness_of_the_weights_is_kept() -> None:
    old, new = yolox_with_two_branches(("a", "b"), seed=1), yolox_with_two_branches(("b", "c"))
    transfer_detector(new, old.state_dict(), old.names)
    given, state = old.state_dict(), new.state_dict()
    second = [name for name in state if ".one." in name]
    assert second and all(torch.equal(state[name], given[name]) for name in second)


@pytest.mark.parametrize(("name", "outputs"), [("yolox-nano", 7), ("onelook5n", 6)])
@pytest.mark.parametrize("one_to_one", [False, True])
def test_the_second_branch_has_boxes_and_classes_of_the_first(name: str, outputs: int, one_to_one: bool) -> None:
    model = create_model(name, num_classes=2, one_to_one=one_to_one).eval()
    maps: list[Tensor] = model(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert [raw.shape[-1] for raw in maps] == [outputs] * 3 + [outputs + 1] * 3 * one_to_one
    for first, second in zip(maps[:3], maps[3:], strict=False):
        assert torch.equal(torch.cat([second[..., :4], second[..., 5:]], dim=-1), first)


def test_new_classes_are_expected_as_often_as_they_occur() -> None:
    head = create_model("onelook5n", num_classes=3).model[-1]
    assert isinstance(head, DistanceHead)
    head.expect_classes({0: 21.0, 2: 1e9})
    for convolution in head.cls_preds:
        shares = convolution.get_parameter("bias").sigmoid().tolist()
        assert shares == pytest.approx([0.01, 0.01, 0.05])


@pytest.mark.parametrize(
    "name",
    ["yolox-nano", "onelook5n", *(pytest.param(n, marks=pytest.mark.slow) for n in ("yolox-tiny", "onelookx-nano"))],
)
def test_a_second_branch_can_be_asked_for_and_left_out(name: str) -> None:
    with torch.device("meta"):
        both, single = create_model(name, one_to_one=True), create_model(name, one_to_one=False)
        again = create_model(both.definition), create_model(single.definition)
    assert both.branches == again[0].branches == ("many", "one")
    assert single.branches == again[1].branches == ("many",)
    both.keep_branch("many")
    assert list(both.state_dict()) == list(single.state_dict())


def test_a_head_with_anchors_has_no_second_branch() -> None:
    assert create_model("yolov5n", one_to_one=True).branches == ("many",)


def shared_maps(cells: dict[tuple[int, int, int], tuple[float, float, tuple[float, ...]]]) -> list[Tensor]:
    """Raw maps of 4 x 4, 2 x 2 and 1 x 1 cells of stride 8, 16 and 32, of two classes.

    Args:
        cells: map, row, column -> own objectness, that of the other branch, and box x1, y1, x2, y2 in pixels.
    """
    maps = [torch.full((1, 1, side, side, 8), -40.0) for side in (4, 2, 1)]
    for raw in maps:
        raw[..., :4] = 0
    for (level, row, column), (own, other, (x1, y1, x2, y2)) in cells.items():
        stride = 8 << level
        box = [(x1 + x2) / 2 / stride - column, (y1 + y2) / 2 / stride - row]
        box += [math.log((x2 - x1) / stride), math.log((y2 - y1) / stride)]
        logits = [math.log(value / (1 - value)) for value in (own, other)]
        maps[level][0, 0, row, column] = torch.tensor([*box, *logits, 40.0, -40.0])
    return maps


def shared_objectness(model: DetectionModel, maps: list[Tensor]) -> list[Tensor]:
    """(H, W) of each map, as the branch without NMS gives it; from all three ways to decode."""
    first = [torch.zeros(1, 1, *raw.shape[2:4], 7) for raw in maps]
    found = model.decode_branch([*first, *maps], "one")
    kept = copy.deepcopy(model)
    kept.keep_branch("one")
    assert torch.equal(kept.decode(maps), found)
    assert torch.equal(decoded(maps, kept.head.decoding()), found)
    return [part.view(raw.shape[2:4]) for part, raw in zip(found[0, :, 4].split([16, 4, 1]), maps, strict=True)]


def test_without_an_objectness_of_the_first_branch_its_surest_class_takes_that_part() -> None:
    model, stride = decoder("Look"), 8
    maps = [torch.full((1, 1, side, side, 7), -40.0) for side in (4, 2, 1)]
    sure = {1: (0.5, 0.8), 2: (0.9, 0.6)}  # column -> own objectness, class 0
    for column, probabilities in sure.items():
        middle_xy = ((column + 0.5) * stride, 1.5 * stride)
        sides = [(middle_xy[0] - 2), (middle_xy[1] - 2), (22 - middle_xy[0]), (22 - middle_xy[1])]
        logits = [math.log(value / (1 - value)) for value in probabilities]
        maps[0][0, 0, 1, column] = torch.tensor([*(side / stride for side in sides), *logits, -40.0])
    found = confidences(model.decode_branch([*([maps[0][..., 1:]] * 3), *maps], "one"))[0, 5:7, 0].tolist()
    lead = (0.5 * 0.8) / (0.9 * 0.6)
    assert found == pytest.approx([0.5**0.1 * 0.8 * lead**8, 0.9**0.1 * 0.6], rel=1e-4)


def mean_of(own: float, other: float) -> float:
    return own**0.1 * other**0.9


BOX = (2.0, 2.0, 22.0, 22.0)


@pytest.mark.parametrize("rival", [(0, 1, 2), (0, 2, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1)])
def test_of_neighbours_that_find_one_object_the_surest_by_both_branches_counts(rival: tuple[int, int, int]) -> None:
    model = decoder("YoloX")
    cells = {(0, 1, 1): (0.5, 0.8, BOX), rival: (0.9, 0.6, BOX)}
    for given, factors in (
        (cells, (((0.5 * 0.8) / (0.9 * 0.6)) ** 8, 1)),
        ({**cells, rival: (0.2, 0.9, BOX)}, (1, ((0.2 * 0.9) / (0.5 * 0.8)) ** 8)),
    ):
        maps = shared_objectness(model, shared_maps(given))
        found = [maps[level][row, column].item() for level, row, column in given]
        expected = [mean_of(own, other) * by for (own, other, _), by in zip(given.values(), factors, strict=True)]
        assert found == pytest.approx(expected, rel=1e-4)


def test_two_classes_with_one_box_are_two_objects() -> None:
    maps = shared_maps({(0, 1, 1): (0.5, 0.8, BOX), (0, 1, 2): (0.9, 0.8, BOX)})
    maps[0][0, 0, 1, 1, 6:] = torch.tensor([-40.0, 40.0])
    assert shared_objectness(decoder("YoloX"), maps)[0][1, 1:3].tolist() == pytest.approx(
        [mean_of(0.5, 0.8), mean_of(0.9, 0.8)]
    )


def test_cells_of_one_object_that_lie_two_apart_are_compared_through_the_one_between() -> None:
    cells = {(0, 1, column): (own, 0.8, BOX) for column, own in ((0, 0.9), (1, 0.1), (2, 0.5))}
    found = shared_objectness(decoder("YoloX"), shared_maps(cells))[0][1, :3]
    expected = [mean_of(own, 0.8) * (own / 0.9) ** 8 for own in (0.9, 0.1, 0.5)]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("rival", "box", "share"),
    [
        ((0, 1, 2), (2.0, 2.0, 22.0, 15.0), 0.5),  # overlap 0.65, half way
        ((0, 1, 2), (2.0, 2.0, 22.0, 12.0), 0.0),  # overlap 0.5: another object
        ((0, 1, 3), BOX, 0.0),  # two columns away
        ((2, 0, 0), BOX, 0.0),  # a map further
    ],
)
def test_other_objects_and_cells_far_away_do_not_count(
    rival: tuple[int, int, int], box: tuple[float, ...], share: float
) -> None:
    cells = {(0, 1, 1): (0.5, 0.8, BOX), rival: (0.9, 0.8, box)}
    maps = shared_objectness(decoder("YoloX"), shared_maps(cells))
    assert maps[0][1, 1].item() == pytest.approx(mean_of(0.5, 0.8) * (0.5 / 0.9) ** (8 * share), rel=1e-4)
    level, row, column = rival
    assert maps[level][row, column].item() == pytest.approx(mean_of(0.9, 0.8))


def test_cells_are_compared_with_all_around_them_twice_and_no_others() -> None:
    """Against a plain loop over all pairs of cells."""
    generator = torch.Generator().manual_seed(0)
    planes = []
    for side in (8, 4, 2):
        size = (side, side + side // 2)
        corners = torch.rand(2, 2, *size, generator=generator) * 6
        sides = torch.rand(2, 2, *size, generator=generator) * 4 + 8
        class_ids = torch.randint(0, 2, (2, 1, *size), generator=generator).float()
        sureness = torch.rand(2, 1, *size, generator=generator).log()
        planes.append(torch.cat([corners, corners + sides, class_ids, sureness], dim=1))
    for image in range(2):
        cells = [(level, y, x) for level in range(3) for y in range(8 >> level) for x in range(12 >> level)]
        rows = torch.stack([planes[level][image, :, y, x] for level, y, x in cells])
        overlap = box_iou(rows[:, :4], rows[:, :4])
        share = ((overlap - 0.5) / 0.3).clamp(0, 1) * (rows[:, None, 4] == rows[None, :, 4])
        for i, j in itertools.product(range(len(cells)), repeat=2):
            (fine, y, x), (coarse, v, u) = sorted((cells[i], cells[j]))
            step = coarse - fine
            if step > 1 or max(abs((y >> step) - v), abs((x >> step) - u)) > 1:
                share[i, j] = 0
        best = rows[:, 5]
        for _step in range(2):
            best = rows[:, 5] + (share * (best[None] - rows[:, None, 5]).clamp(min=0)).amax(dim=1)
        found = torch.cat([lead[image].flatten() for lead in leads_of_rivals(planes, (2, 2))])
        torch.testing.assert_close(found, best - rows[:, 5], rtol=1e-4, atol=1e-5)
        assert 0 < (found > 0).sum() < len(found)


@pytest.mark.parametrize("head", ["YoloX", "Look"])
def test_maps_that_do_not_go_from_fine_to_coarse_are_refused(head: str) -> None:
    body = [[-1, 1, "Conv", [8, 3, 2]] for _ in range(4)]
    table = {"nc": 2, "depth_multiple": 1.0, "width_multiple": 1.0, "backbone": body}
    with pytest.raises(ModelError, match="the maps of the head have strides 16, 8"):
        create_model({**table, "head": [[[3, 2], 1, head, ["nc", 8]]]})


def test_areas_of_large_boxes_are_numbers_in_16_bits() -> None:
    box = torch.tensor([0.0, 0.0, 1200.0, 1200.0]) / 32
    planes = torch.cat([box, torch.tensor([1.0, -2.0])])[None, :, None, None].expand(1, 6, 2, 2).clone()
    planes[0, 5, 0, 0] = -1
    assert leads_of_rivals([planes.half()], [])[0].flatten().tolist() == [0, 1, 1, 1]


def test_box_and_classes_of_the_branch_that_shares_are_where_the_others_are() -> None:
    model = create_model("yolox-nano", num_classes=3, one_to_one=True).eval()
    maps: list[Tensor] = model(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    many, one = (model.decode_branch(maps, branch) for branch in model.branches)
    assert torch.equal(many[..., :4], one[..., :4])
