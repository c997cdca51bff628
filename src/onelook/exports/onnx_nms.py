"""NMS as a part of an ONNX graph, in standard operators.

The result is that of `geometry.nms.non_max_suppression` with `multi_label=False`: the best class of every row, score =
objectness times class score, greedy within a class, highest score first, equal scores in the order of the rows.

Letters: B images, N rows of a prediction, K classes, n detections of an image at most, M boxes that survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onelook.inference.backend import Thresholds

DETECTIONS = "detections"


def with_nms(model: Any, thresholds: Thresholds) -> Any:
    """`model` (an `onnx.ModelProto`), whose output is predictions (B, N, 5 + K), with NMS behind it.

    The new output `detections` is (B, n, 6) float32: x1, y1, x2, y2 in pixels of the images, score, class; n is
    `max_det`, or N if that is less. Rows that are not used have score 0. At an IoU threshold of 1, which drops no box,
    there is no search for overlaps in the graph.
    """
    import onnx
    from onnx import helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    (predictions,) = graph.output
    dims = predictions.type.tensor_type.shape.dim
    batch = dims[0].dim_param or dims[0].dim_value
    nodes = _Nodes(predictions.name)
    _add_nms(nodes, thresholds)
    graph.node.extend(nodes.nodes)
    graph.initializer.extend(nodes.constants)
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info(DETECTIONS, onnx.TensorProto.FLOAT, [batch, "detections_of_an_image", 6])
    )
    return result


def _add_nms(add: _Nodes, thresholds: Thresholds) -> None:
    predictions = add.source
    # Corners, with the arithmetic of `cxcywh_to_xyxy`: (B, N, 4)
    centres = add("Slice", predictions, add.ints(0), add.ints(2), add.ints(2))
    halves = add("Div", add("Slice", predictions, add.ints(2), add.ints(4), add.ints(2)), add.floats(2.0))
    boxes = add("Concat", add("Sub", centres, halves), add("Add", centres, halves), axis=-1)
    # Every row counts for its best class only: scores (B, N), classes (B, N, 1)
    objectness = add("Slice", predictions, add.ints(4), add.ints(5), add.ints(2))
    by_class = add("Mul", add("Slice", predictions, add.ints(5), add.ints(2**31), add.ints(2)), objectness)
    scores = add("ReduceMax", by_class, add.ints(2), keepdims=0)
    classes = add("ArgMax", by_class, axis=2, keepdims=1)
    nothing = add("Sub", scores, scores)
    if thresholds.iou_thres >= 1:
        is_kept = add("Greater", scores, add.float(thresholds.conf_thres))
        remaining = add("Where", is_kept, scores, nothing)
    else:
        remaining = _without_overlaps(add, thresholds, boxes, scores, classes, by_class)
    num_rows = add("Slice", add("Shape", predictions), add.ints(1), add.ints(2))
    best, rows = add.two("TopK", remaining, add("Min", num_rows, add.ints(thresholds.max_det)), axis=1)
    rows = add("Unsqueeze", rows, add.ints(2))  # (B, n, 1)
    of_boxes = add("Expand", rows, add.ints(1, 1, 4))
    columns = (
        add("GatherElements", boxes, of_boxes, axis=1),
        add("Unsqueeze", best, add.ints(2)),
        add("Cast", add("GatherElements", classes, rows, axis=1), to=1),
    )
    add("Concat", *columns, axis=2, output=DETECTIONS)


def _without_overlaps(add: _Nodes, thresholds: Thresholds, boxes: str, scores: str, classes: str, by_class: str) -> str:
    """Scores (B, N), 0 for the rows that NMS drops."""
    if thresholds.agnostic_nms:
        contest = add("Unsqueeze", scores, add.ints(1))  # (B, 1, N)
    else:
        num_classes = add("Slice", add("Shape", by_class), add.ints(2), add.ints(3))
        numbers = add("Range", add.int(0), add("Squeeze", num_classes), add.int(1))  # (K,)
        is_best = add("Cast", add("Equal", classes, numbers), to=1)  # (B, N, K)
        contest = add("Transpose", add("Mul", by_class, is_best), perm=[0, 2, 1])  # (B, K, N)
    survivors = add(  # (M, 3) image, class, row
        "NonMaxSuppression",
        boxes,
        contest,
        add("Squeeze", add("Slice", add("Shape", boxes), add.ints(1), add.ints(2))),
        add.float(thresholds.iou_thres),
        add.float(thresholds.conf_thres),
    )
    indices = add("Gather", survivors, add.ints(0, 2), axis=1)  # (M, 2) image, row
    kept_scores = add("GatherND", scores, indices)
    return add("ScatterND", add("Sub", scores, scores), indices, kept_scores)


class _Nodes:
    """Collects nodes and constants; calling it adds a node and gives the name of its result."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        return self._add(operator, inputs, [output or f"nms_{len(self.nodes)}"], attributes)[0]

    def two(self, operator: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
        """A node with two results."""
        name = f"nms_{len(self.nodes)}"
        first, second = self._add(operator, inputs, [name, f"{name}_places"], attributes)
        return first, second

    def ints(self, *values: int) -> str:
        """A constant vector of int64."""
        return self._constant(np.array(values, np.int64))

    def int(self, value: int) -> str:
        """A constant scalar, int64."""
        return self._constant(np.array(value, np.int64))

    def floats(self, *values: float) -> str:
        """A constant vector of float32."""
        return self._constant(np.array(values, np.float32))

    def float(self, value: float) -> str:
        """A constant scalar, float32."""
        return self._constant(np.array(value, np.float32))

    def _constant(self, value: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"nms_constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def _add(self, operator: str, inputs: Sequence[str], outputs: list[str], attributes: dict[str, Any]) -> list[str]:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), outputs, **attributes))
        return outputs
