"""Names of columns of `results.csv`, and the fitness by which epochs and runs are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy.typing as npt

if TYPE_CHECKING:
    from onelook.structures.metrics import DetectionMetrics

PRECISION, RECALL = "metrics/precision", "metrics/recall"
MAP50, MAP50_95 = "metrics/mAP_0.5", "metrics/mAP_0.5:0.95"
METRICS = (PRECISION, RECALL, MAP50, MAP50_95)
VAL_LOSSES = ("val/box_loss", "val/obj_loss", "val/cls_loss")
BRANCH_METRICS = tuple(f"metrics/{branch}_{name}" for branch in ("many", "one") for name in ("mAP_0.5", "mAP_0.5:0.95"))
"""Only for heads with two branches."""
RATES = ("x/lr0", "x/lr1", "x/lr2")
Value = TypeVar("Value", float, "npt.NDArray[Any]")


def fitness_of(map50: Value, map50_95: Value) -> Value:
    """0.1 mAP50 + 0.9 mAP50-95, of numbers or arrays.

    >>> fitness_of(0.5, 0.25)
    0.275
    """
    return 0.1 * map50 + 0.9 * map50_95


def metrics_row(metrics: DetectionMetrics) -> dict[str, float]:
    """The columns of a validation, without its losses."""
    values = metrics.precision, metrics.recall, metrics.map50, metrics.map50_95
    return dict(zip(METRICS, values, strict=True))


def branches_row(by_branch: Mapping[Literal["many", "one"], DetectionMetrics]) -> dict[str, float]:
    """The columns of a validation for each branch of a head with two."""
    values = [value for branch in ("many", "one") for value in (by_branch[branch].map50, by_branch[branch].map50_95)]
    return dict(zip(BRANCH_METRICS, values, strict=True))
