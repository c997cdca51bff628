"""Writes the corrected copy of a dataset: whole or not at all, with an account of what was done, and checked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from onelook.data.dataset_layout import open_dataset
from onelook.data.formats.writers import SplitToWrite, YoloWriter
from onelook.data.parallel_map import Work, each
from onelook.data.scan.index import scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.doctor.faults import FAULTS
from onelook.doctor.findings import Finding, Scans
from onelook.doctor.mending import MendedSplit, mended_file, mended_split, shift_of
from onelook.doctor.rows import kind_of
from onelook.errors import DataError, SettingsError
from onelook.files.atomic import TEMPORARY_MARK, flush_folder, write_new
from onelook.files.bounded import printable
from onelook.files.image_headers import MOST_PIXELS
from onelook.files.yaml import dump_yaml

ACCOUNT_NAME, YAML_NAME = "fixes.json", "data.yaml"
WORK_NAME = "writing the corrected copy"


def write_fixed(out: Path, scans: Scans, findings: Sequence[Finding], names: tuple[str, ...], *, work: Work) -> Path:
    """Write a copy of a dataset, in YOLO's layout, without the faults that a machine can correct; its YAML.

    Args:
        out: a new folder; nothing is replaced.
        scans: what was read, by split.
        findings: what is wrong with it.
        names: class names.
        work: threads, stop and progress.

    Raises:
        SettingsError: the folder is there already, or lies among the images.
        DataError: an image has changed meanwhile, a split would be empty, or a name cannot be written.
        OSError: the folder cannot be written.
        StopRequested: `work.stop_requested` said so; nothing is left behind.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100 - links in it are kept
    require_place(out, scans)
    mended = [mended_split(split, scan.index, findings) for split, scan in scans.items()]
    is_dark = any(finding.kind == "dark-image" for finding in findings)
    shift = shift_of(path for one in mended for path in one.index.paths) if is_dark else 0
    unfinished = out.with_name(f".{out.name}{TEMPORARY_MARK}{os.getpid()}")
    writer = YoloWriter()
    try:
        unfinished.mkdir(parents=True)
        parts = [_part(one, writer) for one in mended]
        for one, part in zip(mended, parts, strict=True):
            for inside, content in writer.texts(part, names):
                write_new(unfinished / inside, content)
            _put_images(one, unfinished / part.folder, shift, work)
        write_new(unfinished / YAML_NAME, dump_yaml(writer.description(parts, names)).encode())
        write_new(unfinished / ACCOUNT_NAME, _account(findings).encode())
        _require_clean(unfinished, work)
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    flush_folder(out.parent)
    return out / YAML_NAME


def require_place(out: Path, scans: Scans) -> None:
    """Refuse a folder for the copy that is there, or lies among the images.

    Raises:
        SettingsError: why.
    """
    if os.path.lexists(out):
        raise SettingsError(f"`{printable(out)}` is there already", hint="choose another `--fix`; nothing is replaced")
    for scan in scans.values():
        for folder in {os.path.dirname(path) for path in scan.index.paths}:  # noqa: PTH120 - there are many
            if out.is_relative_to(folder):
                raise SettingsError(
                    f"`{printable(out)}` lies within `{printable(folder)}`, whose images are copied",
                    hint="choose a `--fix` outside the dataset",
                )


def _part(mended: MendedSplit, writer: YoloWriter) -> SplitToWrite:
    folder = writer.folder_of(mended.split, names_differ=False)
    return SplitToWrite(mended.split, mended.index, mended.inside, folder)


def _put_images(mended: MendedSplit, folder: Path, shift: int, work: Work) -> None:
    def put(number: int) -> None:
        path, target = mended.index.paths[number], folder / mended.inside[number]
        target.parent.mkdir(parents=True, exist_ok=True)
        if path in mended.odd or shift:
            write_new(target, mended_file(path, shift))
            return
        try:
            shutil.copyfile(path, target)
        except FileNotFoundError as problem:
            raise DataError(f"image `{printable(path)}` is no longer there", hint="check the data again") from problem

    for _ in each(put, range(len(mended.inside)), work, name=WORK_NAME):
        pass


def _account(findings: Sequence[Finding]) -> str:
    """What was corrected, and what is left for people, as JSON."""
    told = {True: [], False: []}  # type: dict[bool, list[dict[str, object]]]
    for finding in findings:
        place = {name: value for name, value in asdict(finding).items() if name not in ("image", "label")}
        fixed = FAULTS[finding.kind].fixed
        told[bool(fixed)].append({**place, "done": fixed} if fixed else place)
    return json.dumps({"format": 1, "corrected": told[True], "left": told[False]}, indent=1) + "\n"


def _require_clean(folder: Path, work: Work) -> None:
    """Read the copy as training will; a row or image of it that is not used as it stands is a fault of ours."""
    spec = open_dataset(folder / YAML_NAME)
    for split in spec.splits:
        options = ScanOptions(report_only=True, max_pixels=MOST_PIXELS)
        ledger = scan_split(
            spec, split, options=options, workers=work.workers, stop_requested=work.stop_requested
        ).ledger
        # An image that is dark beside the others of the dataset is to stay so.
        left = [entry for entry in ledger.entries if FAULTS[kind_of(entry)].fixed and entry.kind != "dark-image"]
        if left:
            raise AssertionError(f"the corrected copy is not clean: {left[0]}")
