"""`onelook check`: reads a data set and accounts for every label row."""

from __future__ import annotations

import argparse
from pathlib import Path

from onelook.data.dataset_spec import load_dataset_spec
from onelook.data.scan_rules import ScanOptions
from onelook.engine.stop_signal import StopSignal
from onelook.recipes.splits import read_splits

MAX_ENTRIES = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("data", type=Path, help="data-set YAML")
    parser.add_argument("--strict", action="store_true", help="fail if any image or label row cannot be used")
    parser.add_argument("--allow-unlabelled", action="store_true", help="accept that most images have no label file")


def run(arguments: argparse.Namespace) -> int:
    """Check all splits that the file names; the exit code."""
    options = ScanOptions(strict=arguments.strict, allow_unlabelled=arguments.allow_unlabelled)
    spec = load_dataset_spec(arguments.data)
    with StopSignal() as stop:
        splits = read_splits(arguments.data, tuple(spec.splits), options=options, stop=stop)
    for scan in splits.scans.values():
        for entry in scan.ledger.entries[:MAX_ENTRIES]:
            print(entry)
        hidden = len(scan.ledger.entries) - MAX_ENTRIES
        if hidden > 0:
            print(f"... and {hidden} more")
    return 0
