"""`onelook check`: what is wrong with a dataset, how much it matters, and what cures it."""

from __future__ import annotations

import argparse

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from onelook.callbacks.number_table import classes_to_show, number_table
from onelook.cli.command_result import CommandResult
from onelook.doctor.diagnosis import Diagnosis
from onelook.doctor.faults import FAULTS
from onelook.doctor.findings import Finding, by_kind, by_severity
from onelook.doctor.judge import LEAST_MAP50
from onelook.recipes.check import check
from onelook.settings.check import CheckSettings
from onelook.settings.command_line import typed_options

MAX_ENTRIES = 8
TOO_WEAK = (
    f", below {LEAST_MAP50:g}: most suspicions would be its own errors, so nothing is ranked; "
    "train it longer, or use a better one"
)


def run(arguments: argparse.Namespace) -> CommandResult:
    """Check all splits that the file names."""
    result = check(typed_options(arguments, CheckSettings), file=arguments.settings)
    found = by_kind(result.diagnosis.findings)
    console = Console()
    console.print()
    console.print(_splits(result.diagnosis))
    for kind, findings in found.items():
        print(f"\n{FAULTS[kind].severity}: {FAULTS[kind].title}: {len(findings)}")
        print(*(f"  {finding}" for finding in findings[:MAX_ENTRIES]), sep="\n")
        if len(findings) > MAX_ENTRIES:
            print(f"  ... and {len(findings) - MAX_ENTRIES} more")
    if found:
        console.print()
        console.print(_cures(found))
    map50 = result.diagnosis.detector_map50
    if map50 is not None:
        print(f"\nthe detector has mAP50 {map50:.3f} on this dataset{'' if map50 >= LEAST_MAP50 else TOO_WEAK}")
    print(f"\n{result.diagnosis.verdict}")
    if result.refusal is None and by_severity(result.diagnosis.findings)["error"]:
        print("training would still start, so the exit code is 0; with `--strict` it is 65")
    if result.settings.output:
        print(f"results are in {result.settings.output}")
    if result.fixed is not None:
        print(f"corrected copy: {result.fixed}")
    document = {**result.diagnosis.document(), "output": result.settings.output or None, "fixed": result.fixed}
    return CommandResult(document, result.refusal)


def _splits(diagnosis: Diagnosis) -> Table:
    """A line per class, a column of labels per split, and their sizes below."""
    table = number_table("class", *diagnosis.statistics)
    shown = classes_to_show(diagnosis.class_labels)
    for class_id in shown:
        counts = (f"{s.class_labels[class_id]:,}" for s in diagnosis.statistics.values())
        table.add_row(escape(diagnosis.names[class_id]), *counts)
    if more := len(diagnosis.names) - len(shown):
        table.add_row(f"and {more:,} more")
    table.add_section()
    for title, share in (("small objects", "small"), ("medium objects", "medium"), ("large objects", "large")):
        cells = (f"{100 * s.shares[share]:.0f} %" for s in diagnosis.statistics.values())
        table.add_row(f"{title} at {diagnosis.imgsz}", *cells)
    if diagnosis.anchors is not None:
        reach = f"{100 * diagnosis.anchors.best_possible_recall:.1f} %"
        table.add_row(f"matched by anchors of {escape(diagnosis.model)}", reach)
    return table


def _cures(found: dict[str, list[Finding]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("severity", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("what")
    table.add_column("what to do")
    for kind, findings in found.items():
        fault = FAULTS[kind]
        cure = escape(fault.cure) + (f" (`--fix`: {escape(fault.fixed)})" if fault.fixed else "")
        table.add_row(fault.severity, f"{len(findings):,}", escape(fault.title), cure)
    return table
