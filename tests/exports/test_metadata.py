"""What an exported file says about itself: it comes back as it was written, and nonsense is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onelook.errors import CheckpointError
from onelook.exports.metadata import Metadata, read_metadata
from onelook.inference.backend import Thresholds
from onelook.models.decoding import Decoding

FULL = Metadata(
    names=("Zelle", "細胞"),
    stride=32,
    frame_hw=(384, 640),
    batch=4,
    precision="fp16",
    thresholds=Thresholds(0.25, 0.45, 100, agnostic_nms=True),
    decoding=Decoding(rule="anchors", anchors=(((4.0, 5.0), (6.0, 7.5)),), strides=(8.0,)),
    weights="best.safetensors",
)


@pytest.mark.parametrize("metadata", [FULL, Metadata(names=("a",), stride=8)])
def test_metadata_comes_back_as_it_was_written(metadata: Metadata) -> None:
    assert read_metadata(metadata.as_json(), "x.onnx") == metadata


def test_thresholds_keep_the_keys_that_older_exports_have() -> None:
    stored = json.loads(FULL.as_json())["thresholds"]
    assert stored == {"conf_thres": 0.25, "iou_thres": 0.45, "max_det": 100, "agnostic": True}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_version": 2}, "has format version 2, known is 1"),
        ({"names": []}, "`names` is not a list of texts"),
        ({"names": ["a", 7]}, "`names` is not a list of texts"),
        ({"stride": 0}, "`stride` is 0"),
        ({"stride": True}, "`stride` is True"),
        ({"frame_hw": [100, 640]}, "not a multiple of the stride 32"),
        ({"frame_hw": [32]}, "cannot be read"),
        ({"batch": 2.5}, "`batch` is 2.5"),
        ({"precision": "fp8"}, "`precision` is 'fp8'"),
        ({"thresholds": {"conf_thres": 2}}, "`conf_thres` is 2"),
        ({"thresholds": {"conf_thres": 0.1, "iou_thres": 0.5}}, "max_det"),
        ({"decoding": {"anchors": [[[1, 2]]], "strides": []}}, "1 maps with anchors, 0 with strides"),
        ({"decoding": {"anchors": [[[1, 10**400]]], "strides": [8]}}, "`anchors` is 1000"),
        ({"decoding": {"anchors": [[[1, float("nan")]]], "strides": [8]}}, "`anchors` is nan"),
        ({"decoding": {"anchors": [[[1, None]]], "strides": [8]}}, "`anchors` is None"),
        ({"decoding": {"anchors": [[[1, 2]]], "strides": [0]}}, "`strides` is 0"),
        ({"decoding": {"rule": "shared", "anchors": [], "strides": [16, 8]}}, "not ascending"),
        (
            {"decoding": {"rule": "distances", "anchors": [], "strides": [8], "peaks": True}},
            "`peaks` is of an earlier version",
        ),
    ],
)
def test_values_that_cannot_be_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=f"exported model `x.onnx`.*{says}"):
        read_metadata(json.dumps(FULL.as_dict() | change), "x.onnx")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "says nothing about its classes"),
        ("", "cannot be read: JSONDecodeError"),
        ("[]", "cannot be read: TypeError"),
        ('{"format_version": 1}', "cannot be read: KeyError 'names'"),
        ("[" * 100_000, "cannot be read"),
        (" " * 4_000_001, "its metadata has 4000001 characters"),
    ],
    ids=["none", "empty", "list", "lacking", "deep", "long"],
)
def test_text_that_is_no_metadata_is_refused(text: str | None, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        read_metadata(text, "x.onnx")
