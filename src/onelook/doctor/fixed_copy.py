"""Writes a corrected copy of a dataset, checked and with an account of the corrections; whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from onelook.data.dataset_copy import YAML_NAME, dataset_copy, require_new_folder
from onelook.data.dataset_layout import open_dataset
from onelook.data.formats.writers import WRITERS, SplitToWrite
from onelook.data.parallel_map import Work
from onelook.data.scan.index import scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.doctor.faults import FAULTS
from onelook.doctor.findings import Finding, Scans
from onelook.doctor.mending import mended_file, mended_split, shift_of
from onelook.doctor.rows import kind_of
from onelook.files.atomic import write_new
from onelook.files.image_headers import MOST_PIXELS

ACCOUNT_NAME = "fixes.json"


def write_fixed(out: Path, scans: Scans, findings: Sequence[Finding], names: tuple[str, ...], *, work: Work) -> Path:
    """Write a copy of a dataset, in YOLO's layout, without the faults that can be corrected automatically; its YAML.

    Raises:
        SettingsError: the folder already exists, or lies among the images.
        DataError: an image has changed meanwhile, a split would be empty, or a name cannot be written.
        OSError: the folder cannot be written.
        StopRequested: a stop was requested; nothing is left behind.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100 - links in it are kept
    folders = {os.path.dirname(path) for scan in scans.values() for path in scan.index.paths}  # noqa: PTH120 - many
    require_new_folder(out, folders, option="--fix")
    mended = [mended_split(split, scan.index, findings) for split, scan in scans.items()]
    is_dark = any(finding.kind == "dark-image" for finding in findings)
    shift = shift_of(path for one in mended for path in one.index.paths) if is_dark else 0
    odd = {path for one in mended for path in one.odd}
    writer = WRITERS["yolo"]
    parts = [
        SplitToWrite(one.split, one.index, one.inside, writer.folder_of(one.split, names_differ=False))
        for one in mended
    ]

    def put(path: str, target: Path) -> None:
        if path in odd or shift:
            write_new(target, mended_file(path, shift))
        else:
            shutil.copyfile(path, target)

    with dataset_copy(out, parts, names, writer, put, work) as folder:
        write_new(folder / ACCOUNT_NAME, _account(findings).encode())
        _require_clean(folder, work)
    return out / YAML_NAME


def _account(findings: Sequence[Finding]) -> str:
    """What was corrected, and what is left for people, as JSON."""
    corrected = [one.document() | {"done": FAULTS[one.kind].fixed} for one in findings if FAULTS[one.kind].fixed]
    left = [one.document() for one in findings if not FAULTS[one.kind].fixed]
    return json.dumps({"format": 1, "corrected": corrected, "left": left}, indent=1) + "\n"


def _require_clean(folder: Path, work: Work) -> None:
    """Scan the copy as training will; whatever the scan still has to correct is a fault of ours."""
    spec = open_dataset(folder / YAML_NAME)
    for split in spec.splits:
        options = ScanOptions(report_only=True, max_pixels=MOST_PIXELS)
        ledger = scan_split(spec, split, options=options, work=work).ledger
        # All images were brightened by one factor: a darker one stays darker.
        left = [entry for entry in ledger.entries if FAULTS[kind_of(entry)].fixed and entry.kind != "dark-image"]
        if left:
            raise AssertionError(f"the corrected copy is not clean: {left[0]}")
