"""Checkpoints with a right digest and wrong content: one clear error each, in little time and memory."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from colours import colour_detector

from onelook.errors import CheckpointError
from onelook.runs.checkpoint import encode
from onelook.training.weights import load_detector, read_weights

GONE = object()


def genuine() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    model = colour_detector()
    tensors = {f"ema/{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    return tensors, {"kind": "detector", "names": list(model.names), "definition": model.definition}


def forged(path: Path, **changes: Any) -> Path:
    """A checkpoint with entries of its document changed, or left out."""
    tensors, document = genuine()
    path.write_bytes(
        encode(tensors, {key: value for key, value in {**document, **changes}.items() if value is not GONE})
    )
    return path


def raw(path: Path, header: bytes) -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


def message(path: Path) -> str:
    begun = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        load_detector(path)
    assert time.process_time() - begun < 30, "a forged number made it work for long"
    assert str(path) in caught.value.message
    return caught.value.message


def table(*rows: list[Any]) -> dict[str, Any]:
    head = [[len(rows) - 1], 1, "Detect", ["nc", "anchors"]]
    keys = {"nc": 2, "depth_multiple": 1.0, "width_multiple": 1.0, "anchors": [[8, 8]]}
    return {**keys, "backbone": list(rows), "head": [head]}


LARGE = [-1, 1, "Conv", [10_000, 3, 2]]
SHAPES = "tensor `model.1.m.0.weight` has the shape (7, 8, 1, 1), the model that it describes (8, 8, 1, 1)"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"definition": GONE}, "its `definition` is missing, not that of a model"),
        ({"definition": []}, "its `definition` is `[]`, not that of a model"),
        ({"definition": "yolov5s"}, "its `definition` is `'yolov5s'`"),
        ({"definition": {}}, "model"),
        ({"definition": table([-1, 1, "Conv", [2**40, 3, 2]])}, ""),
        ({"definition": table(*[LARGE] * 9)}, ""),
        ({"names": GONE}, "its `names` are missing, not those of classes"),
        ({"names": {}}, "its `names` are `{}`"),
        ({"names": []}, "its `names` are `[]`"),
        ({"names": ["a", 2]}, "its `names` are `['a', 2]`"),
        ({"names": ["a", "b", "c"]}, SHAPES),
        ({"names": ["a", "b\x1b[2J"]}, r"its class name `'b\x1b[2J'` holds control characters"),
        ({"names": ["a", "\ud800"]}, r"its class name `'\ud800'` holds control characters"),
        ({"is_fused": True}, "is missing"),
        ({"version": 2}, "has format version 2"),
        ({"version": None}, "has format version None"),
        ({"format": "other"}, "it has no Onelook metadata"),
    ],
)  # fmt: skip
def test_odd_documents_are_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    assert says in message(forged(tmp_path / "a.safetensors", **changes))


@pytest.mark.parametrize(
    "header",
    [
        b'{"__metadata__": null}', b'{"__metadata__": []}', b'{"__metadata__": {"onelook": null}}', b"[]", b"null",
        b"3", b"", b'{"__metadata__": {"onelook": "[]"}}', b'{"__metadata__": {"onelook": "{}"}}', b"{", b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": ' * 50_000,
    ],
)  # fmt: skip
def test_odd_headers_are_refused(header: bytes, tmp_path: Path) -> None:
    assert "is damaged or not a Onelook checkpoint: " in message(raw(tmp_path / "a.safetensors", header))


def test_the_header_has_a_limit(tmp_path: Path) -> None:
    header = b"[" + b"[]," * 31_000_000 + b"[]]"
    text = message(raw(tmp_path / "a.safetensors", header))
    assert f"its header has {len(header):,} bytes, more than the limit of 8,000,000" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["model.0.conv.weight", "model.1.anchors", "model.0.bn.running_var"])
def test_numbers_that_are_not_finite_are_refused(name: str, value: float, tmp_path: Path) -> None:
    tensors, document = genuine()
    tensors[f"ema/{name}"].view(-1)[-1] = value
    (tmp_path / "a.safetensors").write_bytes(encode(tensors, document))
    assert f"tensor `{name}` holds numbers that are not finite" in message(tmp_path / "a.safetensors")


def test_tensors_that_do_not_belong_are_named(tmp_path: Path) -> None:
    for change, says in (
        ({"ema/model.0.conv.weight": torch.zeros(1)}, "tensor `model.0.conv.weight` has the shape (1,)"),
        ({"ema/more": torch.zeros(1)}, "tensor `more` is not part of the model that it describes"),
        ({"ema/model.1.anchors": None}, "tensor `model.1.anchors` is missing"),
    ):
        tensors, document = genuine()
        kept = {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}
        (tmp_path / "a.safetensors").write_bytes(encode(kept, document))
        assert says in message(tmp_path / "a.safetensors")


def test_the_genuine_one_is_read(tmp_path: Path) -> None:
    assert load_detector(forged(tmp_path / "a.safetensors")).names == ("red", "green")
    assert json.dumps(genuine()[1])


def test_a_folder_of_an_export_is_called_no_run_and_its_checkpoint_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nor an export that can be used here") as refused:
        read_weights(tmp_path)
    assert "to train, the checkpoint of an export" in str(refused.value)
