"""A dataset in another format, in a new folder: written whole or not at all, the old one only read."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.data.capacity import available_processors
from onelook.data.dataset_copy import YAML_NAME, dataset_copy, require_new_folder
from onelook.data.dataset_layout import open_dataset
from onelook.data.formats.writers import WRITERS, LabelWriter, SplitToWrite
from onelook.data.parallel_map import Work
from onelook.data.scan.rules import ScanOptions
from onelook.data.split_images import split_by_share
from onelook.data.splits import Splits, read_splits_of, write_ledgers
from onelook.errors import DataError
from onelook.files.bounded import printable
from onelook.processes.stop_signal import StopSignal
from onelook.settings.build import build_settings
from onelook.settings.convert_data import ConvertDataSettings

LEDGER_NAME = "labels.json"


@dataclass(frozen=True)
class ConvertedData:
    """What a conversion gave.

    Attributes:
        splits: what was read of the old one.
        losses: what the new format cannot hold: description -> count.
    """

    path: Path
    splits: Splits
    losses: Mapping[str, int]


def convert_data(given: Mapping[str, Any], *, file: Path | None = None) -> ConvertedData:
    """Read all splits of a dataset and write them in another format.

    Raises:
        SettingsError: a setting cannot be used; the folder already exists or lies among the images.
        DataError: the dataset cannot be read, or something of it cannot be written in the format.
        OSError: the folder cannot be written.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1; nothing is left behind.
    """
    settings = build_settings(ConvertDataSettings, given, file=file)
    out = Path(os.path.abspath(os.path.expanduser(settings.out)))  # noqa: PTH100, PTH111 - no HOME is fine
    with StopSignal() as stop:
        spec = open_dataset(settings.data)
        if settings.split:
            spec = split_by_share(spec, settings.split, seed=settings.seed, stop=stop)
        elif spec.is_unsplit:
            raise DataError(
                f"`{printable(spec.path)}` is not divided into train and val",
                hint="add `--split 0.8`, or divide it first with `onelook split`",
            )
        folders = (folder for folders in spec.splits.values() for folder in folders)
        require_new_folder(out, folders, option="--out")
        options = ScanOptions(strict=settings.strict, allow_unlabelled=settings.allow_unlabelled)
        splits = read_splits_of(spec, tuple(spec.splits), options=options, stop=stop)
        writer = WRITERS[settings.to]
        parts = _parts(splits, writer)
        put = shutil.copyfile if settings.images == "copy" else os.symlink
        with dataset_copy(out, parts, splits.names, writer, put, Work(available_processors(), stop)) as folder:
            write_ledgers(splits, folder / LEDGER_NAME)
    losses: Counter[str] = Counter()
    for part in parts:
        losses.update(writer.losses(part.index))
    return ConvertedData(out / YAML_NAME, splits, {what: count for what, count in losses.items() if count})


def _parts(splits: Splits, writer: LabelWriter) -> list[SplitToWrite]:
    """What the images of each split are called: their paths below the folder that all of the split have in common."""
    inside = {}
    for split, scan in splits.scans.items():
        common = os.path.commonpath([os.path.dirname(path) for path in scan.index.paths])  # noqa: PTH120
        inside[split] = [os.path.relpath(path, common).replace(os.sep, "/") for path in scan.index.paths]
    stems = Counter(os.path.splitext(name)[0] for names in inside.values() for name in names)  # noqa: PTH122
    names_differ = max(stems.values()) == 1
    return [
        SplitToWrite(split, scan.index, inside[split], writer.folder_of(split, names_differ=names_differ))
        for split, scan in splits.scans.items()
    ]
