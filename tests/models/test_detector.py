"""The detector as a whole: building, determinism, weight names, anchors, errors."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from onelook.errors import ModelError
from onelook.models.detector import DetectionModel, create_model, fill_skeleton, skeleton_of
from onelook.models.layer_table import last_uses

ANCHORS_5N = [
    [[1.25, 1.625], [2.0, 3.75], [4.125, 2.875]],
    [[1.875, 3.8125], [3.875, 2.8125], [3.6875, 7.4375]],
    [[3.625, 2.8125], [4.875, 6.1875], [11.65625, 10.1875]],
]


@pytest.fixture(scope="module")
def nano() -> DetectionModel:
    return create_model("yolov5n")


def small(**keys: object) -> DetectionModel:
    return create_model("yolov3-tiny", **{"num_classes": 2, **keys})  # type: ignore[arg-type]


def test_nano_has_the_weight_names_and_anchors_of_the_official_file(nano: DetectionModel) -> None:
    state = nano.state_dict()
    expected = [
        *[f"model.0.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")],
        *["model.0.conv.weight", "model.2.cv1.conv.weight", "model.2.m.0.cv2.bn.bias", "model.9.cv2.conv.weight"],
        *["model.24.anchors", "model.24.m.0.weight", "model.24.m.0.bias"],
    ]
    assert set(expected) <= set(state)
    assert next(name for name in state if name.startswith("model.24")) == "model.24.anchors"
    assert state["model.24.anchors"].tolist() == ANCHORS_5N
    assert state["model.0.conv.weight"].shape == (16, 3, 6, 6)


def test_same_seed_gives_the_same_weights_and_leaves_the_ambient_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = small(seed=1), small(seed=1), small(seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [model.model[0].conv.weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_without_a_seed_weights_come_from_the_ambient_generator() -> None:
    torch.manual_seed(5)
    one = small(seed=None)
    torch.manual_seed(5)
    assert torch.equal(one.model[0].conv.weight, small(seed=None).model[0].conv.weight)
    assert not torch.equal(one.model[0].conv.weight, small(seed=None).model[0].conv.weight)


def test_building_leaves_batch_norm_statistics_untouched(nano: DetectionModel) -> None:
    for module in nano.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.num_batches_tracked.item() == 0
            assert module.running_mean.abs().sum().item() == 0
            assert (module.running_var == 1).all()


def test_forward_gives_raw_maps_and_strides_say_their_size(nano: DetectionModel) -> None:
    with torch.no_grad():
        maps = nano.eval()(torch.zeros(2, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [(2, 3, 8, 12, 85), (2, 3, 4, 6, 85), (2, 3, 2, 3, 85)]
    assert nano.strides.tolist() == [8.0, 16.0, 32.0]
    assert nano.max_stride == 32
    assert tuple(nano.decode(maps).shape) == (2, 3 * (96 + 24 + 6), 85)


def test_channels_last_gives_the_same_maps(nano: DetectionModel) -> None:
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = nano.eval()(images)
        got = copy.deepcopy(nano).to(memory_format=torch.channels_last)(
            images.contiguous(memory_format=torch.channels_last)
        )
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["yolov5n", "yolov3-tiny", "yolov5s-ghost", "yolov5s-transformer"])
def test_gradients_reach_every_parameter_of_a_whole_model(name: str) -> None:
    model = create_model(name, num_classes=2).train()
    generator = torch.Generator().manual_seed(0)
    maps = model(torch.rand(2, 3, 64, 64, generator=generator))
    sum((x * torch.randn(x.shape, generator=generator)).sum() for x in maps).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == []


def test_an_output_is_freed_after_the_last_row_that_reads_it(nano: DetectionModel) -> None:
    released = last_uses(nano.plans)
    assert [sorted(rows) for rows in released[:5]] == [[-1], [0], [1], [2], [3]]
    assert [rows for rows in released if 4 in rows] == [released[16]]
    assert sorted(row for rows in released for row in rows) == [-1, *range(24)]


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_images_may_have_any_number_of_channels(channels: int) -> None:
    model = small(channels=channels)
    assert model.definition["ch"] == channels
    assert len(model(torch.zeros(1, channels, 64, 64))) == 2


def test_definition_is_plain_data_with_all_overrides(nano: DetectionModel) -> None:
    model = small(num_classes=7, anchors=[[1, 2, 3, 4], [50, 60, 70, 80]])
    again = create_model(json.loads(json.dumps(model.definition)), seed=0)
    assert model.definition["nc"] == again.num_classes == 7
    assert again.anchor_grid.anchors.flatten().tolist() == [1, 2, 3, 4, 50, 60, 70, 80]
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert nano.definition["nc"] == 80


def test_caller_s_definition_is_not_changed_and_not_shared() -> None:
    content = copy.deepcopy(small().definition)
    untouched = copy.deepcopy(content)
    model = create_model(content, num_classes=4)
    model.definition["backbone"][0][3][0] = 999
    assert content == untouched


def test_class_names_count_the_classes_where_no_number_is_given() -> None:
    assert small(num_classes=None, names=["bee", "wasp", "fly"]).num_classes == 3
    assert small(num_classes=2).names == ("0", "1")
    with pytest.raises(ModelError, match="1 class name for 2 classes"):
        small(num_classes=2, names=["bee"])


def test_anchors_are_set_in_pixels_whatever_their_order() -> None:
    model = small()
    anchors = torch.tensor([[[5.0, 6.0]] * 3, [[50.0, 60.0]] * 3])
    for given in (anchors, anchors.flip(0)):
        model.set_anchors(given)
        torch.testing.assert_close(model.anchor_grid.anchors, anchors)


@pytest.mark.parametrize(
    "anchors, message",
    [
        (torch.ones(3, 3, 2), r"shape \(3, 3, 2\) for a head of \(2, 3, 2\)"),
        (torch.zeros(2, 3, 2), "above 0"),
        (torch.full((2, 3, 2), torch.nan), "finite"),
    ],
)
def test_impossible_anchors_are_refused(anchors: torch.Tensor, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        small().set_anchors(anchors)


def test_anchors_by_number_are_usable_squares_that_grow_with_the_stride() -> None:
    grid = small(anchors=4).anchor_grid
    assert tuple(grid.anchors.shape) == (2, 4, 2)
    cells = grid.anchors / grid.strides[:, None, None]
    assert ((cells > 2) & (cells < 8)).all()
    assert torch.equal(grid.anchors[1], 2 * grid.anchors[0])


def test_anchors_may_be_named() -> None:
    model = create_model("yolov5n6", num_classes=1, anchors="P6-640")
    assert model.anchor_grid.anchors[0].flatten().tolist() == [9, 11, 21, 19, 17, 41]
    with pytest.raises(ModelError, match=r"anchor set `P6-641` is not known\nhint: did you mean `P6-640`"):
        small(anchors="P6-641")


def test_number_of_anchor_rows_must_equal_that_of_the_maps() -> None:
    with pytest.raises(ModelError, match="`anchors` has 3 rows for a head of 2 maps"):
        small(anchors="P5-640")


def test_activation_of_a_definition_replaces_that_of_every_convolution_block() -> None:
    content = {**small().definition, "activation": "nn.LeakyReLU(0.2)"}
    activations = [m for m in create_model(content).modules() if isinstance(m, nn.SiLU | nn.LeakyReLU)]
    assert len(activations) == 11
    assert all(isinstance(a, nn.LeakyReLU) and a.negative_slope == 0.2 for a in activations)
    assert any(isinstance(m, nn.SiLU) for m in small().modules()), "other models keep theirs"


@pytest.mark.parametrize("inplace", [True, False])
def test_inplace_of_a_definition_reaches_every_activation(inplace: bool) -> None:
    model = create_model({**small().definition, "inplace": inplace})
    assert {m.inplace for m in model.modules() if isinstance(m, nn.SiLU)} == {inplace}


def test_channel_multiple_rounds_widths_up() -> None:
    narrow = {**small().definition, "width_multiple": 0.3}
    assert create_model(narrow).model[0].conv.out_channels == 8
    assert create_model({**narrow, "channel_multiple": 1}).model[0].conv.out_channels == 5


def test_masks_are_refused_by_a_model_without_them() -> None:
    with pytest.raises(ModelError, match="gives no masks"):
        small().segment(torch.zeros(1, 3, 64, 64))


def test_model_on_the_meta_device_takes_no_memory() -> None:
    with torch.device("meta"):
        model = create_model("yolov5x6")
        assert all(p.is_meta for p in model.parameters())
        assert [tuple(x.shape) for x in model(torch.zeros(1, 3, 128, 128))][-1] == (1, 3, 2, 2, 85)
    assert model.max_stride == 64


def test_models_on_the_meta_device_share_nothing_that_can_be_changed() -> None:
    with torch.device("meta"):
        one, other = small(names=["bee", "wasp"]), small()
    read = skeleton_of("yolov3-tiny", num_classes=2)
    assert read is skeleton_of("yolov3-tiny", num_classes=2)
    assert (one.names, other.names) == (("bee", "wasp"), ("0", "1"))
    assert one.training and all(p.is_meta and p.requires_grad for p in one.parameters())
    for first, second in ((one, other), (one, read)):
        assert not set(first.modules()) & set(second.modules())
        assert not {*map(id, first.parameters())} & {*map(id, second.parameters())}
        assert first.definition == second.definition and first.definition["head"] is not second.definition["head"]


@pytest.mark.parametrize("name", ["yolov5n", "onelook5n"])
def test_a_filled_skeleton_is_the_model_whose_tensors_it_was_given(name: str) -> None:
    model = create_model(name, num_classes=2, seed=3).eval()
    tensors = {
        key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in model.state_dict().items()
    }
    model.load_state_dict(tensors)
    ambient = torch.random.get_rng_state()
    with torch.device("meta"):
        skeleton = create_model(name, num_classes=2).eval()
    fill_skeleton(skeleton, tensors)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps, expected = skeleton(images), model(images)
    assert all(torch.equal(one, other) for one, other in zip(maps, expected, strict=True))
    last = model.branches[-1]
    assert torch.equal(skeleton.decode_branch(maps, last), model.decode_branch(expected, last))
    assert {key: tensor.dtype for key, tensor in skeleton.state_dict().items()} == {
        key: tensor.dtype for key, tensor in model.state_dict().items()
    }
    assert all(parameter.requires_grad for parameter in skeleton.parameters())
    assert not {t.data_ptr() for t in skeleton.state_dict().values()} & {t.data_ptr() for t in tensors.values()}
    assert torch.equal(torch.random.get_rng_state(), ambient)
    with pytest.raises(RuntimeError, match="Missing key"):
        fill_skeleton(skeleton, dict(list(tensors.items())[1:]))


def test_neither_the_first_model_nor_the_first_update_of_a_process_waits_for_torch_s_compiler() -> None:
    program = (
        "import sys, torch\n"
        "from onelook.models.count import describe\n"
        "from onelook.models.detector import create_model\n"
        "from onelook.settings.train import TrainSettings\n"
        "from onelook.training.optimizer import create_optimizer, step_unless\n"
        "create_model('yolov5n'), create_model('onelook5n', num_classes=2), describe('yolov5n', imgsz=64)\n"
        "for kind in ('SGD', 'Adam', 'AdamW'):\n"
        "    layer = torch.nn.Linear(2, 2)\n"
        "    optimizer = create_optimizer(layer, TrainSettings(optimizer=kind), 0.001)\n"
        "    optimizer.zero_grad(), layer(torch.ones(2)).sum().backward(), step_unless(optimizer, torch.zeros(()))\n"
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
