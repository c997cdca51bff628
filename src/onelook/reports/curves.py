"""Charts over the epochs: losses, metrics and learning rates; speed and memory."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from onelook.reports.line_chart import Axes, Chart, ChartLine, line_chart
from onelook.reports.panel import Panel, loss_names, loss_title
from onelook.reports.run_record import Row, RunRecord
from onelook.structures.results import MAP50, MAP50_95, PRECISION, RECALL

PANELS = (
    Panel("Average precision", ((MAP50_95, "mAP50-95"), (MAP50, "mAP50")), is_share=True),
    Panel("Precision and recall", ((PRECISION, "precision"), (RECALL, "recall")), is_share=True),
    Panel("Learning rate", (("x/lr0", "biases"), ("x/lr1", "decayed weights"), ("x/lr2", "normalisation"))),
)
# For several runs: one chart per column, one line per run.
COMPARED = (
    Panel("mAP50-95", ((MAP50_95, ""),), is_share=True),
    Panel("mAP50", ((MAP50, ""),), is_share=True),
    Panel("Precision", ((PRECISION, ""),), is_share=True),
    Panel("Recall", ((RECALL, ""),), is_share=True),
    Panel("Learning rate of decayed weights", (("x/lr1", ""),)),
)
SPEED_PANELS = (
    Panel(
        "Seconds per epoch", (("train_seconds", "training"), ("val_seconds", "validation"), ("save_seconds", "saving"))
    ),
    Panel("Training images per second", (("train_images_per_second", "images per second"),)),
    Panel("Memory, MiB", (("memory_mib", "memory"),)),
)
SPEED_COMPARED = (
    Panel("Seconds of training per epoch", (("train_seconds", ""),)),
    Panel("Seconds of validation per epoch", (("val_seconds", ""),)),
    *SPEED_PANELS[1:],
)


def learning_charts(runs: Sequence[RunRecord]) -> list[Chart]:
    """Losses, metrics and learning rates over the epochs."""
    best = runs[0].best_epoch if len(runs) == 1 else None
    panels = _with_losses(PANELS if len(runs) == 1 else COMPARED, runs)
    return _charts("curve", panels, runs, [run.results for run in runs], mark=None if best is None else (best, "best"))


def speed_charts(runs: Sequence[RunRecord]) -> list[Chart]:
    """Time and memory of the epochs."""
    panels = SPEED_PANELS if len(runs) == 1 else SPEED_COMPARED
    return _charts("speed", panels, runs, [_by_epoch(run.speeds) for run in runs])


def _with_losses(panels: Sequence[Panel], runs: Sequence[RunRecord]) -> list[Panel]:
    """`panels`, with the panels of all loss terms of `runs` before the last."""
    names = dict.fromkeys(name for run in runs for name in loss_names(run.results[0] if run.results else ()))
    losses: list[Panel] = []
    for name in names:
        title, trained, validated = loss_title(name), f"train/{name}_loss", f"val/{name}_loss"
        if len(runs) == 1:
            losses.append(Panel(title, ((validated, "validation"), (trained, "training"))))
        else:
            losses += [Panel(f"{title}, validation", ((validated, ""),)), Panel(f"{title}, training", ((trained, ""),))]
    return [*panels[:-1], *losses, panels[-1]]


def _charts(
    identity: str,
    panels: Sequence[Panel],
    runs: Sequence[RunRecord],
    tables: Sequence[Sequence[Row]],
    *,
    mark: tuple[float, str] | None = None,
) -> list[Chart]:
    """One chart per panel; its lines are the columns of one run, or one column of several runs."""
    charts = []
    for chart_number, panel in enumerate(panels):
        lines = []
        for run_number, (run, rows) in enumerate(zip(runs, tables, strict=True)):
            epochs = [row["epoch"] for row in rows]
            for index, (column, name) in enumerate(panel.lines):
                values = [row.get(column, math.nan) for row in rows]
                colour = index if len(runs) == 1 else run_number
                dash = index if len(runs) == 1 else run_number // 8
                lines.append(ChartLine(name if len(runs) == 1 else run.label, epochs, values, colour, dash))
        axes = Axes(y_limits=_share_limits(lines) if panel.is_share else None, mark=mark)
        charts.append(line_chart(f"{identity}-{chart_number}", panel.title, lines, axes))
    return charts


def _share_limits(lines: Sequence[ChartLine]) -> tuple[float, float] | None:
    """From 0 to a little above the highest value, at most to 1."""
    highest = max((y for line in lines for y in line.y if math.isfinite(y)), default=0.0)
    return 0.0, min(1.0, max(0.01, 1.1 * highest))


def _by_epoch(rows: Sequence[Row]) -> list[Row]:
    """One row per epoch; the parts of an epoch that was interrupted and resumed are added up."""
    parts: dict[float, list[Row]] = defaultdict(list)
    for row in rows:
        parts[row["epoch"]].append(row)
    merged: list[Row] = []
    for epoch, same in sorted(parts.items()):
        seconds = {
            name: sum(row.get(name, 0.0) for row in same) for name in ("train_seconds", "val_seconds", "save_seconds")
        }
        images = sum(row.get("train_images_per_second", 0.0) * row.get("train_seconds", 0.0) for row in same)
        memory = max(row.get("memory_mib", math.nan) for row in same)
        rate = images / seconds["train_seconds"] if seconds["train_seconds"] > 0 else math.nan
        merged.append({"epoch": epoch, **seconds, "train_images_per_second": rate, "memory_mib": memory})
    return merged
