"""YOLOX against its published counts and against sums of an independent implementation, without any weights file."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from onelook.models.count import count_parameters
from onelook.models.detector import DetectionModel, create_model
from onelook.models.fuse import fuse
from onelook.models.stem import folded_stem

SIZES = ("nano", "tiny", "s", "m", "l", "x")


# m, l and x are the blocks of s in other numbers.
@pytest.mark.parametrize(
    ("size", "parameters", "head", "folded", "state_items", "per_class"),
    [
        ("nano", 912_159, 104_767, 904_463, 642, 195),
        ("tiny", 5_055_855, 1_087_455, 5_047_191, 462, 291),
        ("s", 8_968_255, 1_920_895, 8_956_703, 462, 387),
        pytest.param("m", 25_326_495, 4_294_335, 25_304_847, 606, 579, marks=pytest.mark.slow),
        pytest.param("l", 54_208_895, 7_609_855, 54_174_271, 750, 771, marks=pytest.mark.slow),
        pytest.param("x", 99_071_455, 11_867_455, 99_020_975, 894, 963, marks=pytest.mark.slow),
    ],
)
def test_parameter_counts_are_those_published(
    size: str, parameters: int, head: int, folded: int, state_items: int, per_class: int
) -> None:
    with torch.device("meta"):
        model, fewer = create_model(f"yolox-{size}"), create_model(f"yolox-{size}", num_classes=3)
    assert count_parameters(model) == parameters
    assert count_parameters(model.model[-1]) == head
    assert parameters - count_parameters(fewer) == 77 * per_class
    assert len(model.state_dict()) == state_items
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert parameters - sum(norm.num_features for norm in norms) == folded
    assert len(convolutions) == {"nano": 113, "tiny": 83, "s": 83, "m": 107, "l": 131, "x": 155}[size]
    assert len(convolutions) - len(norms) == 9


@pytest.mark.parametrize(
    ("size", "imgsz", "published"),
    [
        ("nano", 416, 1.079),
        ("s", 640, 26.806),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [("tiny", 416, 6.451), ("m", 640, 73.755), ("l", 640, 155.651)]
        ),
    ],
)
def test_operations_are_those_published(size: str, imgsz: int, published: float) -> None:
    """Theirs count two for a multiply-add, a bias addition and each of two steps of a batch-norm, unfused."""
    operations = 0

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal operations
        if isinstance(module, nn.Conv2d):
            per_output = module.weight[0].numel() + (module.bias is not None)
            operations += 2 * per_output * output.numel()
        elif isinstance(module, nn.BatchNorm2d):
            operations += 4 * output.numel()

    with torch.device("meta"):
        model = create_model(f"yolox-{size}").eval()
        for module in model.modules():
            module.register_forward_hook(count)
        model(torch.zeros(1, 3, imgsz, imgsz))
    assert operations / 1e9 == pytest.approx(published, abs=6e-4)


def test_nano_parts_have_the_published_sizes() -> None:
    with torch.device("meta"):
        model = create_model("yolox-nano")
    rows = [count_parameters(layer) for layer in model.model]
    assert rows[0] == 1_760
    assert sum(rows[1:3]) == 3_680
    assert sum(rows[3:5]) == 18_560
    assert sum(rows[5:7]) == 69_888
    assert sum(rows[7:10]) == 366_080
    assert sum(rows[10:24]) == 347_424


SUMS = {
    "nano": ("2.324826 6.355659 -5.447197 2.452746 .835613 -2.006095 .686186 -.204073 -.344180", 458.7538, 0.045049294),
    "tiny": (
        "11.737354 -.401928 -8.670184 1.077569 -1.070683 .287054 -.444793 -.262834 .621711", 454.10163, -0.110379562,
    ),
    "s": (
        "11.990789 .348030 -8.707775 1.351004 -1.305196 -.161860 -.384056 -.376402 .501596", 445.80668, -0.094155448,
    ),
    "m": ("5.842884 5.821827 -8.263194 2.914218 .277168 -2.205121 .422293 -.289343 -.079614", 451.24698, 0.005410236),
    "l": ("-6.627407 4.295916 1.181772 1.253954 1.488833 -1.765025 .752978 .134094 -.550388", 462.20172, 0.099856326),
    "x": (
        "-11.407352 -1.985962 9.632592 -1.824318 .941363 .684919 .217858 .380584 -.417562", 449.15714, 0.081281048,
    ),
}  # fmt: skip
"""Per size: box, objectness and class sums of the maps of stride 8, 16, 32; the sum of |.|; one value."""


# tiny, m, l and x are the blocks of s in other numbers, and those are counted above.
@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=() if size in ("nano", "s") else pytest.mark.slow) for size in SIZES]
)
def test_made_up_weights_give_the_sums_of_another_implementation(size: str) -> None:
    sums, absolute, single = SUMS[size]
    model = create_model(f"yolox-{size}").double().eval()
    _fill(model)
    with torch.inference_mode():
        maps = model(_wave(64, 0.5))
    found = [part.sum().item() for raw in maps for part in (raw[..., :4], raw[..., 4], raw[..., 5:])]
    assert found == pytest.approx([float(text) for text in sums.split()], abs=1e-6)
    assert sum(raw.abs().sum().item() for raw in maps) == pytest.approx(absolute, abs=1e-4)
    assert maps[1][0, 0, 1, 2, 3].item() == pytest.approx(single, abs=1e-9)
    fused_maps = fuse(model)(_wave(64, 0.5))
    assert all((raw - other).abs().max() < 1e-10 for raw, other in zip(maps, fused_maps, strict=True))


def _fill(model: DetectionModel) -> None:
    """Weights made of sines, numbered in the order of a published state dict; the stem is given as Focus has it."""
    number = -1
    for module in _in_published_order(model):
        if isinstance(module, nn.Conv2d):
            number += 1
            shape = (len(module.weight), 12, 3, 3) if number == 0 else module.weight.shape
            fan_in = math.prod(shape[1:])
            flat = torch.sin(0.7 * torch.arange(math.prod(shape), dtype=torch.float64) + number)
            weight = flat.view(shape) * math.sqrt(3 / fan_in)
            if number == 0:
                weight = folded_stem(weight).flip(1) / 255  # for RGB from 0 to 1 in both
            module.weight.data.copy_(weight)
            if module.bias is not None:
                module.bias.data.copy_(0.1 * torch.cos(torch.arange(len(weight), dtype=torch.float64) + number))
        elif isinstance(module, nn.BatchNorm2d):
            c = torch.arange(module.num_features, dtype=torch.float64)
            module.weight.data.copy_(1 + 0.2 * c.sin())
            module.bias.data.copy_(0.1 * c.cos())
            module.running_mean.copy_(0.05 * (2 * c).sin())  # type: ignore[union-attr]
            module.running_var.copy_(1 + 0.5 * c.cos() ** 2)  # type: ignore[union-attr]


def _in_published_order(model: DetectionModel) -> Iterator[nn.Module]:
    for row in (*range(10), 10, 13, 14, 17, 18, 20, 21, 23, 24):
        yield from model.model[row].modules()


def _wave(side: int, height: float) -> Tensor:
    c, i, j = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (3, side, side)), indexing="ij")
    return (height * (torch.sin(0.01 * (3 * i + 5 * j + 7 * c)) + 1))[None]


def test_stem_takes_the_place_of_pixel_phases() -> None:
    weight = torch.tensor(
        [[[[1000.0 * q + 10 * u + v for v in range(3)] for u in range(3)] for q in range(12)]], dtype=torch.float64
    )
    swapped = folded_stem(weight)[0] / 255
    assert swapped[0, 0].tolist() == [2000, 8000, 2001, 8001, 2002, 8002]
    plain = swapped.flip(0)
    assert plain[0, 0].tolist() == [0, 6000, 1, 6001, 2, 6002]
    assert plain[0, 1].tolist() == [3000, 9000, 3001, 9001, 3002, 9002]
    assert plain[0, 5].tolist() == [3020, 9020, 3021, 9021, 3022, 9022]


def test_boxes_are_read_from_the_corner_of_their_cell() -> None:
    model = create_model("yolox-nano", num_classes=2)
    maps = [torch.zeros(1, 1, side, side, 7) for side in (8, 4, 2)]
    maps[1][0, 0, 1, 2] = torch.tensor([0.25, 0.75, 1.0, -1.0, 0.0, 2.0, -2.0])
    boxes = model.decode(maps)
    assert boxes.shape == (1, 64 + 16 + 4, 7)
    expected = [2.25 * 16, 1.75 * 16, math.e * 16, 16 / math.e, 0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))]
    assert boxes[0, 64 + 6].tolist() == pytest.approx(expected, rel=1e-6)
    sixteen = [raw.bfloat16() for raw in maps]
    assert model.decode(sixteen).dtype == torch.float32


def test_no_width_of_the_body_is_taken_for_that_of_an_anchor_head() -> None:
    """With 59 classes, 1 x (59 + 5) is the 64 channels of the first row before scaling."""
    with torch.device("meta"):
        for name, counts in (("yolox-s", (59, 1019)), ("onelook5s", (59,)), ("onelookx-s", (123,))):
            for num_classes in counts:
                model = create_model(name, num_classes=num_classes)
                assert [plan.channels_out for plan in model.plans[:8:2]] == [32, 64, 128, 256], (name, num_classes)


def test_first_scores_are_those_of_rare_objects() -> None:
    model = create_model("yolox-nano", num_classes=3).eval()
    for raw in model(torch.zeros(1, 3, 64, 64)):
        assert raw[..., 4:].mean().item() == pytest.approx(-math.log(99), abs=0.7)
