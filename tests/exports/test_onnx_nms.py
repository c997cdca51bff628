"""NMS within an ONNX graph gives, bit for bit, what our own gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from onelook.exports.onnx_nms import with_nms
from onelook.geometry.nms import non_max_suppression
from onelook.inference.backend import Thresholds


def graph(num_classes: int, thresholds: Thresholds) -> Any:
    """A graph that applies NMS to the predictions it is given."""
    given, taken = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", "rows", 5 + num_classes])
        for name in ("images", "predictions")
    )
    copy = helper.make_node("Identity", ["images"], ["predictions"])
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(helper.make_graph([copy], "g", [given], [taken]), opset_imports=opsets, ir_version=10)
    return with_nms(model, thresholds)


def session_of(model: Any) -> Any:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def made_up(rng: np.random.Generator, num_classes: int, *, ties: bool) -> np.ndarray:
    predictions = rng.random((int(rng.integers(1, 4)), int(rng.integers(1, 200)), 5 + num_classes), dtype=np.float32)
    predictions[..., :2] *= 100
    predictions[..., 2:4] *= 60
    if ties:
        predictions[..., 4:] = np.round(predictions[..., 4:] * 8) / 8
    return predictions


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("num_classes", [1, 3, 80])
def test_graph_and_library_keep_the_same_boxes(num_classes: int, agnostic: bool) -> None:
    rng = np.random.Generator(np.random.Philox(key=num_classes))
    num_found = 0
    for conf_thres, iou_thres, max_det in ((0.25, 0.45, 1000), (0.0, 0.7, 20), (0.6, 0.2, 5), (0.1, 1.0, 30)):
        session = session_of(graph(num_classes, Thresholds(conf_thres, iou_thres, max_det, agnostic)))
        for number in range(24):
            predictions = made_up(rng, num_classes, ties=number % 2 == 0)
            expected = non_max_suppression(
                torch.from_numpy(predictions),
                conf_thres=conf_thres,
                iou_thres=iou_thres,
                max_det=max_det,
                multi_label=False,
                agnostic_nms=agnostic,
            )
            (tables,) = session.run(None, {"images": predictions})
            assert tables.shape == (len(predictions), min(max_det, predictions.shape[1]), 6)
            for table, rows in zip(tables, expected, strict=True):
                np.testing.assert_array_equal(table[: len(rows)], rows.numpy())
                assert not table[len(rows) :, 4].any(), "unused rows have score 0"
                num_found += len(rows)
    assert num_found > 1000


def test_a_graph_that_drops_nothing_searches_no_overlaps() -> None:
    operators = {node.op_type for node in graph(3, Thresholds(0.25, 1.0, 300)).graph.node}
    assert "TopK" in operators
    assert "NonMaxSuppression" not in operators


def test_images_without_detections_give_rows_of_score_0() -> None:
    session = session_of(graph(2, Thresholds(0.25, 0.45, 10)))
    (tables,) = session.run(None, {"images": np.zeros((2, 5, 7), np.float32)})
    assert tables.shape == (2, 5, 6) and not tables[..., 4].any()


def test_only_standard_operators_are_used() -> None:
    model = graph(2, Thresholds(0.25, 0.45, 10))
    assert {node.domain for node in model.graph.node} == {""}
    assert [node.op_type for node in model.graph.node].count("NonMaxSuppression") == 1
