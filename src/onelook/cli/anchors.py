"""`onelook anchors`: how well the anchors of a model suit a dataset, and better ones to paste."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from onelook.callbacks.number_table import number_table
from onelook.cli.command_result import CommandResult
from onelook.errors import counted
from onelook.recipes.anchors import AnchorStudy, draw_study, study_anchors
from onelook.settings.anchors import AnchorSettings
from onelook.settings.command_line import typed_options
from onelook.training.autoanchor import GOOD_RECALL, SMALL_SIDE_PX, AnchorFit


def run(arguments: argparse.Namespace) -> CommandResult:
    """Measure, look for better ones, draw."""
    study = study_anchors(typed_options(arguments, AnchorSettings), file=arguments.settings)
    small = f", {study.num_small:,} with a side below {SMALL_SIDE_PX:g} pixels" if study.num_small else ""
    print(f"{counted(len(study.sizes_px), 'label')} at an image size of {study.settings.imgsz}{small}")
    console = Console()
    for table in (_summary(study), _maps("anchors", study.current, study), _maps("new anchors", study.found, study)):
        console.print()
        console.print(table)
    image = draw_study(study)
    print(f"\n{_advice(study)}\n\n{study.yaml_lines()}\n\nthe image is {image}")
    shown = {"model": study.model, "strides": study.strides, "current": study.current, "found": study.found}
    return CommandResult({**shown, "labels": len(study.sizes_px), "image": image})


def _summary(study: AnchorStudy) -> Table:
    """Both sets of anchors side by side."""
    table = number_table("", study.model, "new anchors")
    fits = study.current, study.found
    table.add_row("labels in reach (best possible recall)", *(_percent(fit.best_possible_recall) for fit in fits))
    table.add_row("anchors within reach of a label, mean", *(f"{fit.anchors_per_target:.2f}" for fit in fits))
    table.add_row("worse side's ratio to the best anchor, mean", *(f"{fit.mean_ratio:.3f}" for fit in fits))
    return table


def _maps(title: str, fit: AnchorFit, study: AnchorStudy) -> Table:
    """A line per output map: its anchors, the labels in their reach, the labels whose best anchor is here."""
    table = number_table(title, "stride", "in reach", "best here")
    for row, stride in enumerate(study.strides):
        anchors = "  ".join(f"{width:g}x{height:g}" for width, height in fit.anchors_px[row].round(1).tolist())
        table.add_row(anchors, str(stride), _percent(fit.map_recalls[row]), _percent(fit.map_shares[row]))
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _advice(study: AnchorStudy) -> str:
    if study.are_placeholders:
        return "Training replaces the anchors: the model says only how many it has. To write new ones into a model:"
    if study.would_be_replaced:
        return (
            f"Training looks for better anchors: no more than {_percent(GOOD_RECALL)} of the labels are in reach.\n"
            "To write new ones into a model:"
        )
    return (
        f"Training keeps the anchors: more than {_percent(GOOD_RECALL)} of the labels are in reach.\n"
        "To use the new ones anyway, write them into a model:"
    )
