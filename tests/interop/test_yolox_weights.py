"""Checkpoints of YOLOX and its exported networks, made by torch's own writers: all numbers come back, by wiring."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor
from yolox_files import Exported, save_pth, state_of, trained_yolox

from onelook.errors import CheckpointError
from onelook.interop.yolox_names import STEM
from onelook.interop.yolox_weights import read_yolox, read_yolox_onnx
from onelook.models.fuse import fuse
from onelook.training.weights import load_detector, read_weights


@pytest.mark.parametrize(
    ("name", "num_classes"), [("yolox-nano", 3), pytest.param("yolox-tiny", 80, marks=pytest.mark.slow)]
)
def test_a_checkpoint_gives_all_its_numbers(name: str, num_classes: int, tmp_path: Path) -> None:
    model, stem = trained_yolox(name, num_classes)
    scores = {"best_ap": np.float64(0.4), "curr_ap": np.float32(0.3)}  # as in a checkpoint of one's own
    path = save_pth(tmp_path / "theirs.pth", model, stem, **scores)
    found = read_yolox(path)
    assert found is not None and (found.is_fused, found.epoch) == (False, 299)
    assert found.names[0] == ("person" if num_classes == 80 else "0") and len(found.names) == num_classes
    assert_same(found.tensors, model.state_dict())
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(load_detector(path)(image), model.eval()(image), strict=True):
        assert torch.equal(ours, theirs)
    assert str(read_weights(path).origin).endswith("licence Apache-2.0")


def test_a_state_dict_alone_is_enough(tmp_path: Path) -> None:
    model, stem = trained_yolox("yolox-nano", 2)
    torch.save(state_of(model, stem), tmp_path / "state.pth")
    assert_same(read_weights(tmp_path / "state.pth").tensors, model.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.obj_preds.1.bias"), "lacks the tensor that is `model.24.obj_preds.1.bias`"),
        (lambda state: state.update({"head.extra": torch.zeros(1)}), "has a tensor `model.24.extra`"),
        (lambda state: state.update({"neck.x": torch.zeros(1)}), "has `neck.x`, which no YOLOX has"),
        (
            lambda state: state.update({"head.stems.0.conv.weight": torch.zeros(64, 60, 1, 1)}),
            r"`model.24.stems.0.conv.weight` is \(64, 60, 1, 1\), expected \(64, 64, 1, 1\)",
        ),
        (lambda state: state.pop("head.cls_preds.0.weight"), "has no class outputs"),
        (lambda state: state.update({STEM: torch.zeros(())}), r"first convolution has the shape \(\)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_checkpoint_is_named(change, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model, stem = trained_yolox("yolox-nano", 2)
    state = state_of(model, stem)
    change(state)
    torch.save({"model": state}, tmp_path / "theirs.pth")
    with pytest.raises(CheckpointError, match=message):
        read_weights(tmp_path / "theirs.pth")


@pytest.fixture(
    scope="module",
    params=[
        ("yolox-nano", 1),
        *(pytest.param(case, marks=pytest.mark.slow) for case in [("yolox-nano", 4), ("yolox-tiny", 2)]),
    ],
    ids=str,
)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Tensor]]:
    """An ONNX file as their exporter writes it, and the tensors of the fused model."""
    name, num_classes = request.param
    model, stem = trained_yolox(name, num_classes)
    path = tmp_path_factory.mktemp("exported") / "theirs.onnx"
    network = Exported(model.eval(), stem).eval()
    torch.onnx.export(
        network, (torch.zeros(1, 3, 64, 64),), path, dynamo=False, opset_version=11, input_names=["images"]
    )
    return path, fuse(model).state_dict()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_exported_network_gives_all_its_numbers(exported: tuple[Path, dict[str, Tensor]]) -> None:
    path, expected = exported
    found = read_yolox_onnx(path)
    assert found.is_fused and len(found.names) == len(expected["model.24.cls_preds.0.bias"])
    assert_same(found.tensors, expected, within=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_names_and_order_of_an_exported_network_have_no_effect(
    exported: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    path, expected = exported
    proto = onnx.load(path)
    renamed: dict[str, str] = {}
    for node in proto.graph.node:
        node.ClearField("name")
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = renamed.setdefault(name, f"t{len(renamed)}")
    for item in (*proto.graph.initializer, *proto.graph.input, *proto.graph.output):
        item.name = renamed.setdefault(item.name, f"t{len(renamed)}")
    nodes = list(proto.graph.node)
    random.Random(0).shuffle(nodes)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    onnx.save(proto, tmp_path / "shuffled.onnx")
    assert_same(read_yolox_onnx(tmp_path / "shuffled.onnx").tensors, expected, within=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_another_network_is_refused_with_what_was_found(
    exported: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    path, _ = exported
    proto = onnx.load(path)
    sigmoid = next(node for node in proto.graph.node if node.op_type == "Sigmoid")
    sigmoid.op_type = "Tanh"
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(CheckpointError, match="is not followed by SiLU\nhint: what can be read is YOLOX"):
        read_yolox_onnx(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("kind", "attribute", "message"),
    [
        ("MaxPool", "kernel_shape", r"pooling has the sizes \(0, 0, 0\)"),
        ("Conv", "strides", "0 convolutions read"),
        ("Slice", None, "has an operation without a result"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_operation_that_lacks_its_numbers_or_its_result_is_refused(
    kind: str, attribute: str | None, message: str, exported: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    proto = onnx.load(exported[0])
    for node in proto.graph.node:
        if node.op_type == kind:
            for given in node.attribute:
                if given.name == attribute:
                    given.ClearField("ints")
            if attribute is None:
                node.ClearField("output")
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(CheckpointError, match=message):
        read_yolox_onnx(tmp_path / "other.onnx")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_damaged_file_is_refused_whatever_is_damaged(
    exported: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    path, _ = exported
    data = path.read_bytes()
    rng = random.Random(1)
    damaged = tmp_path / "damaged.onnx"
    for attempt in range(60):
        changed = bytearray(data)
        if attempt % 3 == 0:
            del changed[rng.randrange(len(changed)) :]
        else:  # where the wiring is: the last part of the file is weights, whose values nobody can doubt
            for _ in range(8):
                changed[rng.randrange(20_000)] = rng.randrange(256)
        damaged.write_bytes(changed)
        try:
            read_yolox_onnx(damaged)
        except CheckpointError:
            continue


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], *, within: float = 0.0) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].shape == tensor.shape, name
        assert (found[name] - tensor).abs().max() <= within * max(1.0, float(tensor.abs().max())), name
