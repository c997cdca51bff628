"""Precision, recall and F1: against each other, and against the confidence threshold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onelook.drawing.lettering import shown_name
from onelook.reports.plots.style import MEAN_COLOUR, MUTED_COLOUR, chart, light_grid, line_look, write_placeholder
from onelook.structures.metrics import Array, DetectionMetrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CurveKind = Literal["PR", "P", "R", "F1"]
KINDS: tuple[CurveKind, ...] = ("PR", "P", "R", "F1")
MAX_NAMED_CLASSES = 20
HEIGHT_IN = 3.7
X_LABELS = {"PR": "Recall", "P": "Confidence threshold", "R": "Confidence threshold", "F1": "Confidence threshold"}
Y_LABELS = {"PR": "Precision", "P": "Precision", "R": "Recall", "F1": "F1"}


def plot_curves(metrics: DetectionMetrics, names: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Write `PR_curve.png`, `P_curve.png`, `R_curve.png` and `F1_curve.png` into `folder`, at IoU 0.50."""
    return tuple(plot_curve(metrics, names, folder / f"{kind}_curve.png", kind=kind) for kind in KINDS)


def plot_curve(metrics: DetectionMetrics, names: Sequence[str], path: Path, *, kind: CurveKind) -> Path:
    """Write one curve per class, thin, and their mean, bold; classes are named if there are at most 20.

    Args:
        kind: PR (precision against recall), or P, R or F1 against the confidence threshold.
    """
    x, y = _points(metrics, kind)
    is_named = len(y) <= MAX_NAMED_CLASSES
    with chart(path, height_in=HEIGHT_IN) as figure:
        axes = figure.subplots()
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=X_LABELS[kind], ylabel=Y_LABELS[kind])
        light_grid(axes)
        if len(y) == 0:
            write_placeholder(axes, "no labels, so no curve")
        else:
            _draw_classes(axes, x, y, class_ids=metrics.class_ids, is_named=is_named)
            for line, label in zip(axes.lines, _class_labels(metrics, names, kind), strict=True):
                line.set_label(label if is_named else "_")
            axes.plot(x, y.mean(axis=0), color=MEAN_COLOUR, linewidth=2.2, label=_mean_label(metrics, kind))
            if kind != "PR":
                axes.axvline(metrics.best_confidence, color=MUTED_COLOUR, linewidth=0.8, linestyle=(0, (4, 3)))
            _add_legend(figure, axes, is_named=is_named)
    return path


def _points(metrics: DetectionMetrics, kind: CurveKind) -> tuple[Array, Array]:
    """x (P,) and, per class that has labels, y (K, P)."""
    curves = metrics.curves
    if kind == "PR":
        return curves.recall_points, curves.precision_at_recall
    return curves.confidence, {"P": curves.precision, "R": curves.recall, "F1": curves.f1}[kind]


def _draw_classes(axes: Axes, x: Array, y: Array, *, class_ids: Array, is_named: bool) -> None:
    for row, class_id in zip(y, class_ids.tolist(), strict=True):
        if is_named:
            axes.plot(x, row, linewidth=1.2, **line_look(class_id))
        else:
            axes.plot(x, row, color="0.8", linewidth=0.4)


def _class_labels(metrics: DetectionMetrics, names: Sequence[str], kind: CurveKind) -> list[str]:
    values = {
        "PR": metrics.class_ap50,
        "P": metrics.class_precision,
        "R": metrics.class_recall,
        "F1": metrics.class_f1,
    }[kind]
    ids = metrics.class_ids.tolist()
    return [f"{shown_name(names, class_id)}  {value:.3f}" for class_id, value in zip(ids, values.tolist(), strict=True)]


def _mean_label(metrics: DetectionMetrics, kind: CurveKind) -> str:
    if kind == "PR":
        return f"all classes  {metrics.map50:.3f} mAP50"
    value = {"P": metrics.precision, "R": metrics.recall, "F1": metrics.f1}[kind]
    return f"all classes  {value:.3f} at {metrics.best_confidence:.3f}"


def _add_legend(figure: Figure, axes: Axes, *, is_named: bool) -> None:
    """Named classes stand right of the chart, best known first: the mean; a mean alone stands inside."""
    handles, labels = axes.get_legend_handles_labels()
    if is_named:
        figure.legend(handles[-1:] + handles[:-1], labels[-1:] + labels[:-1], loc="outside right upper")
    else:
        axes.legend(loc="best")
