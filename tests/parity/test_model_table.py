"""Every shipped model against the counts measured on the original: parameters, layers, state items, operations."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from onelook.models.catalog import MODELS, ZOO, find_definition
from onelook.models.count import count_gflops, count_layers, count_parameters, describe
from onelook.models.definition import read_definition
from onelook.models.detector import create_model
from onelook.models.fuse import fuse
from onelook.models.layer_table import plan_layers

# name: layers, parameters, GFLOPs at 640 px, the three again after fusion, state items
PUBLISHED = {
    "yolov5n": (270, 1_872_157, 4.6, 213, 1_867_405, 4.5, 349),
    "yolov5s": (270, 7_235_389, 16.6, 213, 7_225_885, 16.4, 349),
    "yolov5m": (369, 21_190_557, 49.2, 290, 21_172_173, 48.9, 481),
    "yolov5l": (468, 46_563_709, 109.6, 367, 46_533_693, 109.0, 613),
    "yolov5x": (567, 86_749_405, 206.3, 444, 86_705_005, 205.4, 745),
    "yolov5n6": (355, 3_246_940, 4.7, 280, 3_239_884, 4.6, 459),
    "yolov5s6": (355, 12_626_620, 17.0, 280, 12_612_508, 16.8, 459),
    "yolov5m6": (481, 35_731_932, 50.3, 378, 35_704_908, 49.9, 627),
    "yolov5l6": (607, 76_770_172, 111.8, 476, 76_726_332, 111.2, 795),
    "yolov5-p6": (607, 76_770_172, 111.8, 476, 76_726_332, 111.2, 795),
    "yolov5x6": (733, 140_794_780, 210.4, 574, 140_730_220, 209.6, 963),
    "yolov5-p2": (544, 47_493_372, 126.3, 427, 47_461_436, 125.6, 711),
    "yolov5-p34": (241, 5_331_518, 15.1, 190, 5_323_806, 14.9, 311),
    "yolov5-p7": (746, 144_281_723, 116.5, 585, 144_216_251, 115.9, 977),
    "yolov5-fpn": (417, 41_117_565, 100.3, 327, 41_090_877, 99.8, 547),
    "yolov5-bifpn": (468, 46_825_853, 110.4, 367, 46_795_837, 109.8, 613),
    "yolov5-panet": (468, 46_563_709, 109.6, 367, 46_533_693, 109.0, 613),
    "yolov5s-LeakyReLU": (270, 7_235_389, 16.6, 213, 7_225_885, 16.4, 349),
    "yolov5s-transformer": (271, 7_235_645, 16.6, 216, 7_226_653, 16.4, 348),
    "yolov5s-ghost": (453, 3_897_605, 8.9, 366, 3_888_789, 8.7, 529),
    "yolov3": (333, 61_949_149, 156.6, 261, 61_922_845, 155.9, 439),
    "yolov3-spp": (342, 62_998_749, 157.5, 269, 62_971_933, 156.7, 445),
    "yolov3-tiny": (59, 8_852_366, 13.3, 48, 8_849_182, 13.2, 71),
}
# name: layers with one shared activation object, parameters, fused parameters, GFLOPs
PUBLISHED_MASKS = {
    "yolov5n-seg": (225, 1_991_549, 1_986_637, 7.2),
    "yolov5s-seg": (225, 7_621_277, 7_611_485, 26.6),
    "yolov5m-seg": (302, 21_990_397, 21_971_597, 71.3),
    "yolov5l-seg": (379, 47_924_957, 47_894_397, 148.4),
    "yolov5x-seg": (456, 88_819_517, 88_774_445, 266.6),
}
YOLOV5N_ROWS = {
    0: 1760, 1: 4672, 2: 4800, 3: 18560, 4: 29184, 5: 73984, 6: 156928, 7: 295424, 8: 296448, 9: 164608, 10: 33024,
    11: 0, 12: 0, 13: 90880, 14: 8320, 15: 0, 16: 0, 17: 22912, 18: 36992, 19: 0, 20: 74496, 21: 147712, 22: 0,
    23: 296448, 24: 115005,
}  # fmt: skip


def test_every_shipped_model_is_in_a_table_and_has_a_file() -> None:
    without_anchors = {name for name in MODELS if name.startswith(("yolox-", "onelook"))}  # counted elsewhere
    assert set(MODELS) - without_anchors == set(PUBLISHED) | set(PUBLISHED_MASKS)
    assert {path.stem for path in ZOO.glob("*.yaml")} == set(MODELS) | {"anchors"}


# Of each kind of layer and table one, by default.
SMALL = {"yolov5n", "yolov5s", "yolov5n6", "yolov5-p34", "yolov5s-transformer", "yolov5s-ghost", "yolov3-tiny"}


@pytest.mark.parametrize(
    "name", [name if name in SMALL else pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED]
)
def test_counts_equal_the_published_ones(name: str) -> None:
    layers, parameters, gflops, fused_layers, fused_parameters, fused_gflops, state_items = PUBLISHED[name]
    with torch.device("meta"):
        model = create_model(name)
    assert count_parameters(model) == parameters
    assert count_layers(model) == layers
    assert len(model.state_dict()) == state_items
    fused = fuse(model)
    assert count_parameters(fused) == fused_parameters
    assert count_layers(fused) == fused_layers
    assert count_gflops(model) == pytest.approx(gflops, abs=0.051)  # to the digit that is published
    assert count_gflops(fused) == pytest.approx(fused_gflops, abs=0.051)


@pytest.mark.parametrize(
    "name", [name if "n-" in name else pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED_MASKS]
)
def test_counts_of_mask_models_equal_the_published_ones(name: str) -> None:
    layers, parameters, fused_parameters, gflops = PUBLISHED_MASKS[name]
    with torch.device("meta"):
        model = create_model(name)
    num_activations = sum(isinstance(module, nn.SiLU) for module in model.modules())
    assert count_parameters(model) == parameters
    assert count_layers(model) - num_activations + 1 == layers
    assert count_parameters(fuse(model)) == fused_parameters
    assert count_gflops(model) == pytest.approx(gflops, rel=0.01)


def test_counting_changes_nothing_in_a_model_that_trains() -> None:
    model = create_model("yolov5n").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert count_gflops(model) == describe("yolov5n").gflops
    assert model.training and all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_each_row_of_the_nano_model_has_its_published_parameters() -> None:
    assert {row.row: row.parameters for row in describe("yolov5n").rows} == YOLOV5N_ROWS


@pytest.mark.parametrize("name", MODELS)
def test_every_definition_starts_with_a_line_about_it_and_survives_its_own_dictionary(name: str) -> None:
    assert (ZOO / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")
    content, where = find_definition(name)
    definition = read_definition(content, where=where, overrides={})
    again = read_definition(json.loads(json.dumps(definition.as_dict())), where=where, overrides={})
    assert again == definition
    assert plan_layers(again) == plan_layers(definition)


@pytest.mark.parametrize("num_classes, parameters", [(1, 7_022_326), (20, 7_073_569), (80, 7_235_389)])
def test_small_model_grows_by_the_head_alone_with_its_classes(num_classes: int, parameters: int) -> None:
    """A head of 3 anchors on 128, 256 and 512 channels: 3 * (896 + 3) parameters more for each class."""
    with torch.device("meta"):
        model = create_model("yolov5s", num_classes=num_classes)
    assert count_parameters(model) == parameters == 7_235_389 - (80 - num_classes) * 3 * (896 + 3)
