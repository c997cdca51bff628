"""Checkpoints as YOLOv5 5.0 to 7.0 write them give the detector they hold; everything else is named and refused."""

from __future__ import annotations

import copy
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from yolov5_files import DATE, Disguise, Look, halved, stripped, trained, unstripped

from onelook.errors import CheckpointError
from onelook.interop.detector_weights import Weights
from onelook.interop.missing_weights import refuse_known_names
from onelook.interop.yolov5_weights import read_yolov5
from onelook.models.catalog import find_definition
from onelook.models.detector import DetectionModel, create_model

BEFORE_6_2 = Look("models.yolo.Model")
SINCE_7_0 = Look(names_as_mapping=True)


def read(folder: Path, data: bytes, name: str = "x.pt") -> Weights:
    path = folder / name
    path.write_bytes(data)
    return read_yolov5(path)


def rebuilt(weights: Weights) -> DetectionModel:
    model = create_model(weights.definition, names=weights.names)
    model.load_state_dict(weights.tensors)
    return model.eval()


def narrow(name: str) -> dict[str, Any]:
    """The definition of a shipped model, with few channels."""
    return {**find_definition(name)[0], "width_multiple": 0.1}


def assert_holds(weights: Weights, model: DetectionModel) -> None:
    expected = halved(model)
    assert weights.names == model.names and weights.tensors.keys() == expected.keys()
    assert weights.definition == model.definition
    for name, tensor in expected.items():
        assert weights.tensors[name].dtype == tensor.dtype and torch.equal(weights.tensors[name], tensor), name


@pytest.mark.parametrize(
    "look",
    [
        BEFORE_6_2,
        Look(),
        SINCE_7_0,
        Look(sync_norm=True),
        Look(old_grid=True),
        Look(dtype=torch.float32),
        Look(dtype=torch.bfloat16),
        Look(dtype=torch.float64),
    ],
    ids=["6.0", "6.2", "7.0", "synchronised", "5.0", "32 bits", "bf16", "64 bits"],
)
def test_every_look_of_a_finished_run_is_read(detector: DetectionModel, look: Look, tmp_path: Path) -> None:
    weights = read(tmp_path, stripped(detector, look))
    assert (weights.part, weights.epoch, weights.date) == ("model", -1, DATE)
    if look.dtype == torch.bfloat16:
        first = detector.state_dict()["model.0.conv.weight"].bfloat16().float()
        assert torch.equal(weights.tensors["model.0.conv.weight"], first)
    else:
        assert_holds(weights, detector)


def test_an_unfinished_run_gives_its_averaged_model(detector: DetectionModel, tiny_model: Path, tmp_path: Path) -> None:
    average = trained(tiny_model, detector.names, seed=9)
    weights = read(tmp_path, unstripped(detector, average), "last.PT")
    assert_holds(weights, average)
    assert (weights.part, weights.epoch) == ("ema", 7)


@pytest.mark.parametrize(
    "name", ["yolov5n", "yolov5s-LeakyReLU", "yolov5s-ghost", "yolov5s-transformer", "yolov3-tiny", "yolov5-p34"]
)
def test_shipped_models_are_rebuilt_with_what_they_compute(name: str, tmp_path: Path) -> None:
    model = trained(narrow(name), [f"class {i}" for i in range(3)]).eval()
    weights = read(tmp_path, stripped(model, SINCE_7_0))
    assert_holds(weights, model)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for mine, theirs in zip(rebuilt(weights)(images), model(images), strict=True):
            assert torch.equal(mine, theirs)


def test_old_blocks_and_tensors_in_another_memory_order_are_read(tmp_path: Path) -> None:
    table = {
        "anchors": [[8, 8, 16, 16]],
        "backbone": [[-1, 1, "Focus", [8, 3]], [-1, 3, "BottleneckCSP", [8]], [-1, 1, "SPP", [8, [5, 9]]]],
        "head": [[[2], 1, "Detect", ["nc", "anchors"]]],
    }
    model = trained(table, ["a", "b"])
    assert_holds(read(tmp_path, stripped(model.to(memory_format=torch.channels_last), BEFORE_6_2)), model)


def test_anchors_that_only_had_a_number_are_those_of_the_file(tiny_model: Path, tmp_path: Path) -> None:
    model = trained(tiny_model, ["a", "b"], anchors=3)
    model.set_anchors(torch.arange(1.0, 19.0).view(3, 3, 2))
    weights = read(tmp_path, stripped(model))
    assert weights.definition["anchors"] == 3 and torch.equal(
        rebuilt(weights).anchor_grid.anchors[0, 0], torch.tensor([1.0, 2.0])
    )


def spoilt(detector: DetectionModel, change: Any) -> bytes:
    """A file whose model was changed in code before it was saved."""
    disguise = Disguise(Look())
    model = disguise.model(detector)
    change(model, disguise)
    return disguise.save({"epoch": -1, "model": model, "ema": None})


def replace_activation(model: Any, disguise: Disguise) -> None:
    model.model[0].act = nn.Hardswish()


def add_block(model: Any, disguise: Disguise) -> None:
    model.model[0].attention = disguise.instance("models.common.CBAM")


def set_to(path: str, name: str, value: Any) -> Any:
    def change(model: Any, disguise: Disguise) -> None:
        setattr(model.get_submodule(path), name, value)

    return change


def rename(path: str, kind: str) -> Any:
    def change(model: Any, disguise: Disguise) -> None:
        parent, _, name = path.rpartition(".")
        old, new = model.get_submodule(path), disguise.instance(kind)
        new.__dict__.update(vars(old))
        setattr(model.get_submodule(parent), name, new)

    return change


def set_yaml(key: str, value: Any) -> Any:
    def change(model: Any, disguise: Disguise) -> None:
        model.yaml[key] = value

    return change


def deepen(model: Any, disguise: Disguise) -> None:
    model.yaml["backbone"][2][1] = 2


def fuse(model: Any, disguise: Disguise) -> None:
    delattr(model.model[0], "bn")


def widen(model: Any, disguise: Disguise) -> None:
    model.model[0].conv.weight = nn.Parameter(torch.zeros(9, 3, 3, 3))


def break_weight(model: Any, disguise: Disguise) -> None:
    model.model[0].conv.weight.data[0, 0, 0, :2] = float("nan")


def share_weights(model: Any, disguise: Disguise) -> None:
    model.model[2].cv1.conv.weight = nn.Parameter(torch.zeros(1).half().expand(model.model[2].cv1.conv.weight.shape))


def share_storage(model: Any, disguise: Disguise) -> None:
    numbers = torch.zeros(8000).half()
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            part.weight = nn.Parameter(numbers[: part.weight.numel()].view_as(part.weight))


CHANGES: list[tuple[str, Any, tuple[str, ...], str]] = [
    ("activation", replace_activation, ("`model.0.act` is `torch.nn.modules.activation.Hardswish`", "SiLU"), "code"),
    ("added block", add_block, ("`model.0.attention` (`models.common.CBAM`) is not part",), "changed in code"),
    ("stride", set_to("model.0.conv", "stride", (1, 1)), ("`model.0.conv`", "`stride` is `(1, 1)`", "(2, 2)"), ""),
    ("eps", set_to("model.0.bn", "eps", 1e-5), ("`model.0.bn`", "`eps` is `1e-05`", "0.001"), ""),
    ("shortcut", set_to("model.2.m.0", "add", False), ("`model.2.m.0`", "`add` is `False`"), ""),
    ("wiring", set_to("model.3", "f", 1), ("row 3 takes `1`",), ""),
    ("class count of the head", set_to("model.6", "nc", 7), ("`model.6`", "`nc` is `7`"), ""),
    ("strides", set_to("", "stride", torch.tensor([4.0, 8.0, 16.0])), ("strides are [4.0, 8.0, 16.0]",), ""),
    ("fused", fuse, ("module `model.0.bn` (BatchNorm2d) is missing",), "fused for inference"),
    ("shape", widen, ("`model.0.conv.weight` has the shape (9, 3, 3, 3)", "(8, 3, 3, 3)"), ""),
    ("diverged", break_weight, ("`model.0.conv.weight` has 2 numbers that are not finite",), "earlier checkpoint"),
    ("one storage for all", share_storage, ("its tensors lie in", "bytes, more than the"), ""),
    ("one number for all", share_weights, ("`model.2.cv1.conv.weight` has more elements than storage",), ""),
    ("segmentation", rename("model.6", "models.yolo.Segment"), ("a segmentation head (`models.yolo.Segment`)",), ""),
    ("classification", rename("model.6", "models.common.Classify"), ("a classification head",), ""),
    ("experimental", rename("model.0", "models.experimental.MixConv2d"), ("experimental block", "MixConv2d"), ""),
    ("other package", rename("model.0", "ultralytics.nn.modules.conv.Conv"), ("`ultralytics.nn.",), ""),
    ("other class", rename("model.0", "models.common.Conv_"), ("`models.common.Conv_`; by the", "it is Conv"), ""),
    ("unknown block", set_yaml("backbone", [[-1, 1, "CBAM", [8]]]), ("model row 0 (CBAM): there is no such",), ""),
    ("no definition", set_to("", "yaml", "yolov5n.yaml"), ("the `yaml` of its model is `yolov5n.yaml`",), ""),
    ("definition of objects", set_yaml("head", [nn.SiLU()]), ("the definition of its model has an object of",), ""),
    ("definition of codes", set_yaml("activation", "\x1b[2J"), (r"has the text `\x1b[2J`",), "printable"),
    ("other depth", deepen, ("module `model.2.m.1` (Bottleneck) is missing",), ""),
    ("other width", set_yaml("width_multiple", 2), ("`in_channels`",), ""),
    ("huge width", set_yaml("width_multiple", 15), ("in_channels",), ""),
    ("names too few", set_to("", "names", ["a"]), ("1 class name for `2` classes",), ""),
    ("names of gaps", set_to("", "names", {0: "a", 2: "b"}), ("do not run from 0",), ""),
    ("no names", set_to("", "names", 80), ("the `names` of its classes are `80`",), ""),
    ("long name", set_to("", "names", ["a", "b" * 300]), ("the list of its class names has the text `bbb",), "200"),
    ("a part that is no module", set_to("", "_modules", {"model": 3}), ("module `model` is `3`",), ""),
    ("a dotted part", set_to("", "_modules", {"a.b": nn.SiLU()}), ("`_modules` of an object of",), ""),
]  # fmt: skip


@pytest.mark.parametrize(("change", "says", "hint"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_a_model_that_its_definition_does_not_give_is_refused(
    detector: DetectionModel, change: Any, says: tuple[str, ...], hint: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, spoilt(detector, change))
    assert all(part in caught.value.message for part in says), caught.value.message
    assert hint in (caught.value.hint or "")


def with_model(kind: str) -> Any:
    def make(detector: DetectionModel) -> bytes:
        return stripped(detector, Look(kind))

    return make


def with_content(content: Any) -> Any:
    return lambda detector: Disguise(Look()).save(content)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (with_model("models.yolo.SegmentationModel"), "a segmentation model (`models.yolo.SegmentationModel`)"),
        (with_model("models.yolo.ClassificationModel"), "a classification model"),
        (with_model("models.experimental.Ensemble"), "an object (`models.experimental.Ensemble`)"),
        (with_model("ultralytics.nn.tasks.DetectionModel"), "`ultralytics.nn.tasks.DetectionModel`"),
        (with_content({"model": {"a": torch.ones(1)}}), "its `model` is a dict, not a model"),
        (with_content({"a": torch.ones(1)}), "neither `model` nor `ema`; its keys are `a`"),
        (with_content([1]), "it holds a list, not the dictionary"),
        (with_content({"ema": 3, "model": None}), "its `ema` is `3`"),
    ],
    ids=["segmentation", "classification", "ensemble", "other family", "bare state", "tensors", "list", "number"],
)
def test_what_is_no_detector_is_named(detector: DetectionModel, make: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, make(detector))
    assert says in caught.value.message and caught.value.hint


def test_a_file_that_is_not_there_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"yolov5s\.pt` do not exist\nhint: nothing is downloaded"):
        read_yolov5(tmp_path / "yolov5s.pt")


@pytest.mark.parametrize("name", ["yolov5s.pt", "yolov5s.PT"])
def test_weights_known_by_name_are_not_taken_for_a_model(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"weights `{name}` do not exist\nhint: nothing is downloaded"):
        refuse_known_names(Path(name))


def test_tensors_do_not_share_the_memory_of_anything(detector: DetectionModel, tmp_path: Path) -> None:
    data = stripped(copy.deepcopy(detector))
    one, two = read(tmp_path, data), read(tmp_path, data)
    for tensor in one.tensors.values():
        tensor.zero_()
    assert_holds(two, detector)


@pytest.mark.parametrize(
    "look",
    [Look(recomputes=True), Look(package="yolov5."), Look(package="a.b.", names_as_mapping=True, recomputes=True)],
)
def test_files_of_newer_torch_and_of_a_package_are_read(look: Look, tmp_path: Path) -> None:
    model = trained(narrow("yolov5n"), ("square", "disc"))
    assert_holds(read(tmp_path, stripped(model, look)), model)


def test_an_upsampling_by_a_fraction_is_not_taken_for_the_same(tmp_path: Path) -> None:
    model = trained(narrow("yolov5n"), ("square", "disc"))
    disguise = Disguise(Look(recomputes=True))
    changed = disguise.model(model)
    next(part for part in changed.modules() if isinstance(part, nn.Upsample)).scale_factor = 2.5
    with pytest.raises(CheckpointError, match="scale_factor"):
        read(tmp_path, disguise.save({"model": changed}))


def test_programs_are_called_what_they_are(tmp_path: Path) -> None:
    linear = torch.nn.Linear(2, 2)
    torch.jit.save(torch.jit.trace(linear, torch.zeros(1, 2)), tmp_path / "a.pt")  # type: ignore[no-untyped-call]
    torch.export.save(torch.export.export(linear, (torch.zeros(1, 2),)), tmp_path / "b.pt")
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        archive.writestr("c/.data/extern_modules", "torch")
        archive.writestr("c/data.pkl", b"")
    for name, what in (("a", "TorchScript program"), ("b", "program of torch.export"), ("c", "torch.package")):
        with pytest.raises(CheckpointError, match=rf"{what}, which holds code\nhint: give the checkpoint"):
            read_yolov5(tmp_path / f"{name}.pt")


def test_the_size_of_training_is_known_where_the_file_has_its_options(detector: DetectionModel, tmp_path: Path) -> None:
    assert read(tmp_path, stripped(detector)).imgsz is None
    assert read(tmp_path, stripped(detector, opt={"imgsz": 320})).imgsz == 320
    for odd in ("320", -1, 2**40, True, None, [320]):
        assert read(tmp_path, stripped(detector, opt={"imgsz": odd})).imgsz is None
