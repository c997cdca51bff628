"""Splits a dataset again: lists of images and YAML files in a new folder, everything else stays where it is."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onelook.data.capacity import available_processors
from onelook.data.dataset_copy import YAML_NAME
from onelook.data.dataset_spec import SPLITS
from onelook.data.parallel_map import Work
from onelook.data.split_assignment import Array
from onelook.data.split_images import ImagePool, groups_in, parts_of, pool_of, write_split
from onelook.errors import DataError, SettingsError
from onelook.files.atomic import new_folder
from onelook.files.bounded import printable
from onelook.processes.stop_signal import StopSignal
from onelook.settings.build import build_settings
from onelook.settings.split import SplitSettings

logger = logging.getLogger(__name__)

# Shares of all images: a split that misses its fraction by more is reported; a larger group is named in that warning.
MOST_MISSED, LARGE_GROUP = 0.03, 0.05


@dataclass(frozen=True)
class SplitResult:
    """What a split gave.

    Attributes:
        data: the YAML files that were written, or the folder of lists where there are no class names.
        names: class names; none for a folder of images.
        images: for each dataset, images by split.
        class_labels: for each dataset, labels of each class by split; without YAML, none.
        num_groups: images that stay together count as one.
    """

    data: tuple[Path, ...]
    names: tuple[str, ...]
    images: tuple[dict[str, int], ...]
    class_labels: tuple[dict[str, tuple[int, ...]], ...]
    num_groups: int


def split_dataset(given: Mapping[str, Any], *, file: Path | None = None) -> SplitResult:
    """Divide the images of a dataset, or of a folder, and write lists that name them.

    Raises:
        SettingsError: a setting cannot be used, or the folder already exists.
        DataError: the data cannot be read, or a split would be empty.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1; nothing is written.
    """
    with StopSignal() as stop:
        settings = build_settings(SplitSettings, given, file=file)
        out = Path(os.path.abspath(settings.output))  # noqa: PTH100 - links in it are kept
        if os.path.lexists(out):
            raise SettingsError(f"`{printable(out)}` already exists", hint="choose another `--output`")
        work = Work(available_processors(), stop)
        pool = pool_of(settings, work)
        groups = groups_in(pool, settings, work)
        parts = parts_of(pool, groups, settings)
        stop.check()
    count = len(np.unique(groups))
    if settings.folds:
        folds = (parts == fold for fold in range(settings.folds))
        splits = [{"train": np.flatnonzero(~is_val), "val": np.flatnonzero(is_val)} for is_val in folds]
    else:
        splits = [{split: np.flatnonzero(parts == part) for part, split in enumerate(SPLITS) if (parts == part).any()}]
    _require_full(splits, settings, count)
    if not settings.folds:
        _warn_of_other_fractions(splits[0], groups, settings)
    data = _write(out, pool, splits, [f"fold{number + 1}" for number in range(settings.folds)])
    return SplitResult(
        data=tuple(data),
        names=pool.names,
        images=tuple({split: len(images) for split, images in one.items()} for one in splits),
        class_labels=tuple(
            {split: tuple(pool.class_labels[images].sum(axis=0).tolist()) for split, images in one.items()}
            for one in splits
        ),
        num_groups=count,
    )


def _warn_of_other_fractions(splits: Mapping[str, Array], groups: Array, settings: SplitSettings) -> None:
    """Warn, with a hint, if a split has far fewer or more images than requested."""
    shares = {split: len(splits.get(split, ())) / len(groups) for split in SPLITS}
    missed = [
        f"{split} {100 * shares[split]:.1f} % instead of {100 * wanted:.1f} %"
        for split, wanted in zip(SPLITS, settings.fractions, strict=False)
        if abs(shares[split] - wanted) > MOST_MISSED
    ]
    if not missed:
        return
    largest = int(np.bincount(groups).max())
    cure = "`--stratify` gets closer to them" if not settings.stratify else "another `--seed` may get closer to them"
    if largest > LARGE_GROUP * len(groups):
        cure = f"the largest group of images that stay together has {largest}: see `--near` and `--group`; {cure}"
    logger.warning("the splits miss the requested fractions: %s; %s", ", ".join(missed), cure)


def _require_full(splits: Sequence[Mapping[str, Array]], settings: SplitSettings, num_groups: int) -> None:
    wanted = {split for split, part in zip(SPLITS, settings.fractions, strict=False) if part}
    for one in splits:
        empty = {split for split in (("train", "val") if settings.folds else wanted) if not len(one.get(split, ()))}
        if empty:
            raise DataError(
                f"split `{min(empty)}` would have no image; images or groups to divide: {num_groups}",
                hint="take other fractions, fewer folds, another seed, or `--stratify`",
            )


def _write(out: Path, pool: ImagePool, splits: Sequence[Mapping[str, Array]], folders: Sequence[str]) -> list[Path]:
    """Write a folder of lists for each dataset, all or none; their YAML files, or without names the folders."""
    with new_folder(out) as unfinished:
        for one, name in zip(splits, folders or [""], strict=True):
            dataset_folder = unfinished / name
            dataset_folder.mkdir(exist_ok=True)
            images = {split: [pool.paths[image] for image in numbers.tolist()] for split, numbers in one.items()}
            write_split(dataset_folder, pool.spec, images, final=out / name)
    return [out / name / YAML_NAME if pool.names else out / name for name in folders or [""]]
