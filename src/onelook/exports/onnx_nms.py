"""NMS as a part of an ONNX graph, in standard operators and in ONNX's own textual syntax.

The result is that of `geometry.nms.non_max_suppression` with `multi_label=False`: the best class of every row, score =
objectness times class score, greedy within a class, highest score first, equal scores in the order of the rows.

Letters: B images, N rows of a prediction, K classes, n detections of an image at most, M boxes that survive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onelook.inference.backend import Thresholds

# `$` stands for `nms_`, with which no name of the network begins.
START = """
nms (float[B, N, C] predictions) => (float[B, n, 6] detections)
<int64[1] $0 = {0}, int64[1] $1 = {1}, int64[1] $2 = {2}, int64[1] $3 = {3}, int64[1] $4 = {4}, int64[1] $5 = {5},
 int64[1] $last = {2147483648}, int64 $zero = {0}, int64 $one = {1}, float[1] $two = {2.0},
 int64[2] $image_and_row = {0, 2}, int64[3] $four_columns = {1, 1, 4}>
{
  # Corners, with the arithmetic of `cxcywh_to_xyxy`: (B, N, 4)
  $centres = Slice (predictions, $0, $2, $2)
  $sizes = Slice (predictions, $2, $4, $2)
  $halves = Div ($sizes, $two)
  $low = Sub ($centres, $halves)
  $high = Add ($centres, $halves)
  $boxes = Concat <axis = -1> ($low, $high)
  # Every row counts for its best class only: scores (B, N), classes (B, N, 1)
  $objectness = Slice (predictions, $4, $5, $2)
  $of_classes = Slice (predictions, $5, $last, $2)
  $by_class = Mul ($of_classes, $objectness)
  $scores = ReduceMax <keepdims = 0> ($by_class, $2)
  $classes = ArgMax <axis = 2, keepdims = 1> ($by_class)
  $nothing = Sub ($scores, $scores)
  $shape = Shape ($by_class)
  $num_rows = Slice ($shape, $1, $2)
"""
ALL_KEPT = """
  $is_kept = Greater ($scores, $conf_thres)
  $remaining = Where ($is_kept, $scores, $nothing)
"""
CONTEST_OF_ALL = """
  $contest = Unsqueeze ($scores, $1)  # (B, 1, N)
"""
CONTESTS_OF_CLASSES = """
  $of_last_axis = Slice ($shape, $2, $3)
  $num_classes = Squeeze ($of_last_axis)
  $numbers = Range ($zero, $num_classes, $one)  # (K,)
  $is_best = Equal ($classes, $numbers)
  $one_hot = Cast <to = 1> ($is_best)
  $of_best = Mul ($by_class, $one_hot)
  $contest = Transpose <perm = [0, 2, 1]> ($of_best)  # (B, K, N)
"""
WITHOUT_OVERLAPS = """
  $most = Squeeze ($num_rows)
  $survivors = NonMaxSuppression ($boxes, $contest, $most, $iou_thres, $conf_thres)  # (M, 3) image, class, row
  $indices = Gather <axis = 1> ($survivors, $image_and_row)
  $kept_scores = GatherND ($scores, $indices)
  $remaining = ScatterND ($nothing, $indices, $kept_scores)
"""
END = """
  $count = Min ($num_rows, $max_det)
  $best, $places = TopK <axis = 1> ($remaining, $count)
  $rows = Unsqueeze ($places, $2)  # (B, n, 1)
  $of_boxes = Expand ($rows, $four_columns)
  $best_boxes = GatherElements <axis = 1> ($boxes, $of_boxes)
  $best_scores = Unsqueeze ($best, $2)
  $of_rows = GatherElements <axis = 1> ($classes, $rows)
  $best_classes = Cast <to = 1> ($of_rows)
  detections = Concat <axis = 2> ($best_boxes, $best_scores, $best_classes)
}
"""


def with_nms(model: Any, thresholds: Thresholds) -> Any:
    """`model` (an `onnx.ModelProto`), whose output is `predictions` (B, N, 5 + K), with NMS behind it.

    The new output `detections` is (B, n, 6) float32: x1, y1, x2, y2 in pixels of the images, score, class; n is
    `max_det`, or N if that is less. Rows that are not used have score 0. At an IoU threshold of 1, which drops no box,
    there is no search for overlaps in the graph.
    """
    import onnx
    from onnx import helper, numpy_helper

    middle = [ALL_KEPT]
    if thresholds.iou_thres < 1:
        middle = [CONTEST_OF_ALL if thresholds.agnostic_nms else CONTESTS_OF_CLASSES, WITHOUT_OVERLAPS]
    added = onnx.parser.parse_graph("".join([START, *middle, END]).replace("$", "nms_"))
    numbers = {
        "nms_conf_thres": np.array(thresholds.conf_thres, np.float32),
        "nms_iou_thres": np.array(thresholds.iou_thres, np.float32),
        "nms_max_det": np.array([thresholds.max_det], np.int64),
    }
    constants = [*added.initializer, *(numpy_helper.from_array(number, name) for name, number in numbers.items())]
    used = {name for node in added.node for name in node.input}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    graph.node.extend(added.node)
    graph.initializer.extend(constant for constant in constants if constant.name in used)
    shape = [batch.dim_param or batch.dim_value, "detections_of_an_image", 6]
    output = helper.make_tensor_value_info("detections", onnx.TensorProto.FLOAT, shape)
    del graph.output[:]
    graph.output.append(output)
    return result
