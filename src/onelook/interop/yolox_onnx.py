"""YOLOX from an ONNX file, whichever exporter wrote it: weights are found by the wiring, not by names or order.

The batch-norms of such a file are folded into its convolutions, so the result is a fused model.
"""

from __future__ import annotations

from torch import Tensor

from onelook.errors import CheckpointError
from onelook.interop.onnx_graph import Node, OnnxGraph
from onelook.interop.yolox_names import OUR_STEM, check_shapes, yolox_skeleton
from onelook.models.detector import DetectionModel
from onelook.models.stem import folded_stem

POOLS = (5, 9, 13)
MAX_BOTTLENECKS = 16
_NOT_YOLOX = "what can be read is YOLOX as its own exporter writes it, without decoding"


def yolox_of_graph(graph: OnnxGraph) -> tuple[DetectionModel, dict[str, Tensor]]:
    """The fused model in `graph`: a skeleton that is not fused, on the meta device, and the tensors of the fused one.

    Raises:
        CheckpointError: the graph is wired in another way than YOLOX; the message lacks the name of the file.
    """
    walk = _Walk(graph)
    try:
        walk.body(walk.image())
    except CheckpointError as problem:
        raise CheckpointError(problem.message, hint=problem.hint or _NOT_YOLOX) from problem
    tensors = walk.tensors
    if tensors[OUR_STEM].shape[1:] != (12, 3, 3):
        raise CheckpointError("its first convolution does not read the four pixel phases of an image", hint=_NOT_YOLOX)
    tensors[OUR_STEM] = folded_stem(tensors[OUR_STEM])
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    skeleton = yolox_skeleton(shapes)
    check_shapes(skeleton, shapes, is_fused=True)
    return skeleton, tensors


class _Walk:
    """Follows a graph from the image to its boxes and notes the weights that it passes, under our names."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._graph = graph

    def image(self) -> str:
        """The four pixel phases of the image, side by side."""
        images = [name for name in self._graph.inputs if name not in self._graph.weights]
        if len(images) != 1:
            raise CheckpointError(f"it takes {len(images)} inputs instead of one image")
        reached, found = list(images), set()
        for tensor in reached:  # which grows
            for node in self._readers(tensor):
                if node.kind == "Slice" and node.inputs[0] == tensor and node.outputs[0] not in reached:
                    reached.append(node.outputs[0])
                elif node.kind == "Concat" and len(node.inputs) == 4:
                    found.add(node.outputs[0])
            if len(reached) > 64:
                break
        if len(found) != 1:
            raise CheckpointError("it does not begin by sorting the pixels of an image into four phases")
        return found.pop()

    def body(self, phases: str) -> None:
        """Everything behind the four phases."""
        tensor = self._block("model.0", self._conv(phases))
        stages = []
        for row in (1, 3, 5):
            tensor = self._block(f"model.{row}", self._conv(tensor))
            tensor = self._cross_stage(f"model.{row + 1}", tensor)
            stages.append(tensor)
        _, dark3, dark4 = stages
        tensor = self._pyramid("model.8", self._block("model.7", self._conv(dark4)))
        tensor = self._cross_stage("model.9", tensor)
        lateral = self._block("model.10", self._conv(tensor))
        tensor = self._cross_stage("model.13", self._joined(self._resized(lateral), dark4))
        reduced = self._block("model.14", self._conv(tensor))
        finest = self._cross_stage("model.17", self._joined(self._resized(reduced), dark3))
        middle = self._down(18, finest, reduced)
        coarsest = self._down(21, middle, lateral)
        for level, tensor in enumerate((finest, middle, coarsest)):
            self._level(level, self._conv(tensor, stride=1, kernel=1))

    def _down(self, row: int, tensor: str, other: str) -> str:
        """A convolution of stride 2, joined with `other`, and the block behind it."""
        smaller = self._block(f"model.{row}", self._conv(tensor, stride=2))
        return self._cross_stage(f"model.{row + 2}", self._joined(smaller, other))

    def _level(self, level: int, stem: Node) -> None:
        tensor = self._block(f"model.24.stems.{level}", stem)
        branches = self._convs(tensor)
        if len(branches) != 2:
            raise CheckpointError(f"{len(branches)} branches instead of 2 read the stem of level {level} of its head")
        for first in branches:
            # Whether it is the branch of boxes is seen at its end: two convolutions read that.
            passed: dict[str, Tensor] = {}
            before, self.tensors = self.tensors, passed
            end = self._block("0", first)
            end = self._block("1", self._conv(end))
            self.tensors = before
            predictions = self._convs(end)
            branch = "reg_convs" if len(predictions) == 2 else "cls_convs"
            for name, weight in passed.items():
                self._note(f"model.24.{branch}.{level}.{name}", weight)
            for prediction in predictions:
                position = self._position_in_output(prediction)
                names = {0: "reg_preds", 1: "obj_preds"} if branch == "reg_convs" else {2: "cls_preds"}
                if position not in names:
                    raise CheckpointError(f"output {position} of level {level} of its head comes from the wrong branch")
                weight, bias = self._weights(prediction)
                self._note(f"model.24.{names[position]}.{level}.weight", weight)
                self._note(f"model.24.{names[position]}.{level}.bias", bias)

    def _position_in_output(self, prediction: Node) -> int:
        """Which input of the joint output of its level a prediction is, through a sigmoid or not."""
        tensor = prediction.outputs[0]
        for _ in range(2):
            for node in self._readers(tensor, "Concat"):
                return node.inputs.index(tensor)
            tensor = next((node.outputs[0] for node in self._readers(tensor, "Sigmoid")), "")
        raise CheckpointError("a prediction of its head goes nowhere")

    def _cross_stage(self, name: str, tensor: str) -> str:
        pair = [conv for conv in self._convs(tensor) if self._kernel(conv) == 1]
        ends = {id(conv): self._activated(conv) for conv in pair}
        second = [conv for conv in pair if self._readers(ends[id(conv)], "Concat")]
        if len(pair) != 2 or len(second) != 1:
            raise CheckpointError(f"{len(pair)} convolutions read `{tensor[:40]}` where a cross-stage block begins")
        first = pair[1] if second[0] is pair[0] else pair[0]
        chain, side = self._block(f"{name}.cv1", first), self._block(f"{name}.cv2", second[0])
        for number in range(MAX_BOTTLENECKS + 1):
            joined = [node for node in self._readers(chain, "Concat") if side in node.inputs]
            if joined:
                if joined[0].inputs != (chain, side):
                    raise CheckpointError(f"`{joined[0].outputs[0][:40]}` joins a cross-stage block in another order")
                return self._block(f"{name}.cv3", self._conv(joined[0].outputs[0]))
            inner = self._block(f"{name}.m.{number}.cv1", self._conv(chain))
            inner = self._block(f"{name}.m.{number}.cv2", self._conv(inner))
            added = [node for node in self._readers(inner, "Add") if chain in node.inputs]
            chain = added[0].outputs[0] if added else inner
        raise CheckpointError(f"a cross-stage block has more than {MAX_BOTTLENECKS} bottlenecks")

    def _pyramid(self, name: str, tensor: str) -> str:
        """Three pools of different sizes side by side, which are one pool three times in our model."""
        start = self._block(f"{name}.cv1", self._conv(tensor))
        pools = {node.outputs[0]: node for node in self._readers(start, "MaxPool")}
        joined = self._readers(start, "Concat")
        inputs = joined[0].inputs if joined else ()
        sizes = tuple(pools[one].numbers.get("kernel_shape", (0,))[0] for one in inputs if one in pools)
        if sizes != POOLS or joined[0].inputs[0] != start:
            raise CheckpointError(f"its pooling has the sizes {sizes} instead of {POOLS}")
        return self._block(f"{name}.cv2", self._conv(joined[0].outputs[0]))

    def _resized(self, tensor: str) -> str:
        found = self._readers(tensor, "Resize", "Upsample")
        if len(found) != 1:
            raise CheckpointError(f"`{tensor[:40]}` is not enlarged where YOLOX does so")
        return found[0].outputs[0]

    def _joined(self, first: str, second: str) -> str:
        found = self._readers(first, "Concat")
        if len(found) != 1 or found[0].inputs != (first, second):
            raise CheckpointError(f"`{first[:40]}` and `{second[:40]}` are not joined, as they are in YOLOX")
        return found[0].outputs[0]

    def _block(self, name: str, conv: Node) -> str:
        """Note an activated convolution, or a depth-wise one and the 1x1 one after it; gives the output tensor."""
        weight, bias = self._weights(conv)
        if weight.shape[1] == 1 and len(weight) > 1:
            self._note_block(f"{name}.dconv", weight, bias)
            conv = self._conv(self._activated(conv))
            name = f"{name}.pconv"
            weight, bias = self._weights(conv)
        self._note_block(name, weight, bias)
        return self._activated(conv)

    def _note_block(self, name: str, weight: Tensor, bias: Tensor) -> None:
        self._note(f"{name}.conv.weight", weight)
        self._note(f"{name}.conv.bias", bias)

    def _note(self, name: str, tensor: Tensor) -> None:
        if name in self.tensors:
            raise CheckpointError(f"two convolutions are where `{name}` should be")
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"the tensor that is `{name}` in our model has numbers that are not finite")
        self.tensors[name] = tensor

    def _weights(self, conv: Node) -> tuple[Tensor, Tensor]:
        found = [self._graph.weights.get(name) for name in conv.inputs[1:]]
        if len(found) != 2 or found[0] is None or found[1] is None or found[0].ndim != 4:
            raise CheckpointError(f"convolution `{conv.outputs[0][:40]}` lacks weight or bias in the file")
        return found[0], found[1]

    def _activated(self, conv: Node) -> str:
        """The tensor x sigmoid(x) of a convolution's x."""
        tensor = conv.outputs[0]
        for gate in self._readers(tensor, "Sigmoid"):
            for product in self._readers(gate.outputs[0], "Mul"):
                if set(product.inputs) == {tensor, gate.outputs[0]}:
                    return product.outputs[0]
        raise CheckpointError(f"convolution `{tensor[:40]}` is not followed by SiLU")

    def _conv(self, tensor: str, *, stride: int | None = None, kernel: int | None = None) -> Node:
        """The one convolution that reads `tensor`, among those of that stride and kernel."""
        found = [
            conv
            for conv in self._convs(tensor)
            if stride in (None, conv.numbers.get("strides", (1,))[0]) and kernel in (None, self._kernel(conv))
        ]
        if len(found) != 1:
            raise CheckpointError(f"{len(found)} convolutions read `{tensor[:40]}` instead of one")
        return found[0]

    def _convs(self, tensor: str) -> list[Node]:
        return [node for node in self._readers(tensor, "Conv") if node.inputs[0] == tensor]

    def _kernel(self, conv: Node) -> int:
        return self._weights(conv)[0].shape[-1]

    def _readers(self, tensor: str, *kinds: str) -> list[Node]:
        """The nodes of these kinds, or of all, that read `tensor`."""
        return [node for node in self._graph.readers.get(tensor, []) if not kinds or node.kind in kinds]
