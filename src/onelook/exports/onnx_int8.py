"""8-bit arithmetic for ONNX: ranges measured on the user's pictures, kept as quantise-dequantise pairs in the graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from onelook.errors import SettingsError
from onelook.exports.plan import ExportPlan, Pictures
from onelook.exports.quiet import quietly


def quantised(model: Any, plan: ExportPlan) -> Any:
    """`model` (an `onnx.ModelProto`) with its convolutions in 8 bits.

    Weights have one scale per output channel. The last convolutions, those of the head, stay in 32 bits, and so does
    the decoding: box coordinates need more than 256 steps.

    Raises:
        SettingsError: `plan` has no pictures to measure.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    if plan.calibration is None:
        raise SettingsError("8-bit arithmetic needs pictures to measure ranges on", hint="add `--data`")
    pictures = plan.calibration()

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands the pictures over one batch at a time."""

        def __init__(self, batches: Iterator[Pictures]) -> None:
            self._batches = batches

        def get_next(self) -> dict[str, Pictures] | None:
            batch = next(self._batches, None)
            return None if batch is None else {model.graph.input[0].name: batch}

    with TemporaryDirectory() as folder, quietly():
        path = Path(folder, "int8.onnx")
        quantize_static(
            model,
            str(path),
            Reader(pictures),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=convolutions_of_the_head(model, plan),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(path)


def convolutions_of_the_head(model: Any, plan: ExportPlan) -> list[str]:
    """Names of the nodes that compute the raw maps, one per map."""
    prefix = f"model.{len(plan.model.model) - 1}.m."
    return [
        node.name for node in model.graph.node if node.op_type == "Conv" and any(prefix in name for name in node.input)
    ]
