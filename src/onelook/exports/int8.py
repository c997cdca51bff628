"""8-bit arithmetic by NNCF, for every format whose graph it knows; ranges are measured on the user's images."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from onelook.errors import SettingsError
from onelook.exports.plan import ExportPlan, Images
from onelook.exports.quiet import quietly
from onelook.exports.signal_stack import restored_signal_stack

REPORTER = "openvino_telemetry"


def quantised(model: Any, plan: ExportPlan, *, exact: Sequence[str], silu: Sequence[str], source: str = "") -> Any:
    """`model` with 8-bit arithmetic, one scale per output channel of the weights.

    Args:
        model: the graph, in a form that NNCF knows.
        plan: gives the images.
        exact: names of nodes that stay in 32 bits: the head's last convolutions and the decoding, since box
            coordinates need more than 256 steps.
        silu: operators that SiLU is made of; in 8 bits, too, they cost a YOLOv5n 1.1 points of mAP50-95 on blood cells,
            and without them it loses none.
        source: name of the input, if the form needs it.

    Raises:
        SettingsError: `plan` has no images to measure.
    """
    if plan.calibration is None:
        raise SettingsError("8-bit arithmetic needs images to measure ranges on", hint="add `--data`")
    with without_reports(), quietly(), restored_signal_stack():
        import nncf

        images: list[Images] = list(plan.calibration())
        return nncf.quantize(
            model,
            nncf.Dataset([{source: batch} for batch in images] if source else images),
            preset=nncf.QuantizationPreset.MIXED,  # activations such as SiLU are not symmetric
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=list(exact), types=list(silu), validate=False),
        )


@contextmanager
def without_reports() -> Iterator[None]:
    """OpenVINO and NNCF report their use to their maker, unless the package that sends the reports is missing."""
    if REPORTER in sys.modules:
        yield
        return
    sys.modules[REPORTER] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[REPORTER]
