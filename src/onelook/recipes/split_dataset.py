"""Splits a dataset again: lists of images and YAML files in a new folder, everything else stays where it is."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onelook.data.capacity import available_processors
from onelook.data.dataset_spec import SPLITS, DatasetSpec, list_images, load_dataset_spec
from onelook.data.image_files import images_in_folder
from onelook.data.image_hashes import image_hashes
from onelook.data.parallel_map import Work, each
from onelook.data.scan.index import ScanResult, scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.data.split_assignment import Array, balanced, by_hash, stratified
from onelook.doctor.near_duplicates import alike_pairs, groups_around_leaders, groups_of, mirrored_pairs
from onelook.errors import DataError, SettingsError
from onelook.files.atomic import TEMPORARY_MARK
from onelook.files.bounded import content_digest, printable, read_bounded
from onelook.files.cache_folder import default_cache_folder
from onelook.files.images import MAX_FILE_BYTES
from onelook.files.yaml import dump_yaml
from onelook.processes.stop_signal import StopSignal
from onelook.settings.build import build_settings
from onelook.settings.split import FOLDER, SplitSettings

logger = logging.getLogger(__name__)

YAML_NAME = "data.yaml"
# Of the images, more than which a split may not miss its fraction without a word; and of one group, to be named.
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


@dataclass(frozen=True)
class _Pool:
    """All images that are divided: N paths in order, their root, class names, and (N, K) labels of each class."""

    paths: tuple[str, ...]
    root: Path
    names: tuple[str, ...]
    class_labels: Array

    def name_of(self, image: int) -> str:
        """What an image is called wherever the dataset lies."""
        return os.path.relpath(self.paths[image], self.root).replace(os.sep, "/")


def split_dataset(given: Mapping[str, Any], *, file: Path | None = None) -> SplitResult:
    """Divide the images of a dataset, or of a folder, and write lists that name them.

    Args:
        given: settings by name; see `SplitSettings`.
        file: YAML file with more settings, weaker than `given`.

    Raises:
        SettingsError: a setting cannot be used, or the folder is there already.
        DataError: the data cannot be read, or a split would be empty.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1; nothing is written.
    """
    with StopSignal() as stop:
        settings = build_settings(SplitSettings, given, file=file)
        out = Path(os.path.abspath(settings.output))  # noqa: PTH100 - links in it are kept
        if os.path.lexists(out):
            raise SettingsError(f"`{printable(out)}` is there already", hint="choose another `--output`")
        work = Work(available_processors(), lambda: stop.requested)
        pool = _pool(settings, work)
        groups = _groups(pool, settings, work)
        parts = _parts(pool, groups, settings)
        stop.check()
    count = len(np.unique(groups))
    if settings.folds:
        divided = [_fold(parts, fold) for fold in range(settings.folds)]
    else:
        divided = [{split: np.flatnonzero(parts == part) for part, split in enumerate(SPLITS) if (parts == part).any()}]
    _require_full(divided, settings, count)
    if not settings.folds:
        _warn_of_other_fractions(divided[0], groups, settings)
    data = _write(out, pool, divided, [f"fold{number + 1}" for number in range(settings.folds)])
    return SplitResult(
        data=tuple(data),
        names=pool.names,
        images=tuple({split: len(images) for split, images in one.items()} for one in divided),
        class_labels=tuple(
            {split: tuple(pool.class_labels[images].sum(axis=0).tolist()) for split, images in one.items()}
            for one in divided
        ),
        num_groups=count,
    )


def _pool(settings: SplitSettings, work: Work) -> _Pool:
    if settings.data.is_dir() and not any(entry.suffix in (".yaml", ".yml") for entry in settings.data.iterdir()):
        folder = Path(os.path.abspath(settings.data))  # noqa: PTH100
        if settings.stratify:
            raise SettingsError(f"`{folder}` is a folder of images: its classes are not known", hint="give a YAML")
        paths = tuple(images_in_folder(folder).images)
        if not paths:
            raise DataError(f"folder `{printable(folder)}` has no images")
        return _Pool(paths, folder, (), np.zeros((len(paths), 0), np.int64))
    spec = load_dataset_spec(settings.data)
    if spec.format != "yolo":
        raise DataError(
            f"`{printable(spec.path)}` is in the format {spec.format}, whose splits cannot be lists of images",
            hint="`onelook convert-data DATA --to yolo --out FOLDER` first",
        )
    paths = tuple(sorted({str(path) for split in spec.splits for path in list_images(spec, split)}))
    return _Pool(paths, spec.root, spec.names, _labels_of(spec, paths, work))


def _labels_of(spec: DatasetSpec, paths: Sequence[str], work: Work) -> Array:
    """(N, K) labels of each class; images that cannot be used have none."""
    counts: dict[str, Array] = {}
    for split in spec.splits:
        index = _scanned(spec, split, work).index
        for image, path in enumerate(index.paths):
            counts[path] = np.bincount(index.class_ids[index.labels_of(image)], minlength=len(spec.names))
    nothing = np.zeros(len(spec.names), np.int64)
    return np.array([counts.get(path, nothing) for path in paths]).reshape(-1, len(spec.names))


def _scanned(spec: DatasetSpec, split: str, work: Work) -> ScanResult:
    return scan_split(
        spec,
        split,
        options=ScanOptions(report_only=True),
        workers=work.workers,
        cache_folder=default_cache_folder(),
        stop_requested=work.stop_requested,
    )


def _groups(pool: _Pool, settings: SplitSettings, work: Work) -> Array:
    """The group of each image, (N,): the number of its first member."""
    pairs = [np.zeros((0, 2), np.int64)]
    if settings.group:
        pairs.append(_tied_pairs([_key(pool.name_of(image), settings.group) for image in range(len(pool.paths))]))
    if settings.near >= 0:
        digests = list(each(_digest, pool.paths, work, name="the comparison of the images"))
        pairs.append(_tied_pairs(digests))
        hashes = image_hashes(
            pool.paths,
            np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16),
            work=work,
            cache_folder=default_cache_folder(),
        )
        alike = np.concatenate([alike_pairs(hashes, settings.near), mirrored_pairs(hashes, settings.near)])
        return groups_around_leaders(groups_of(np.concatenate(pairs), len(pool.paths)), alike)
    return groups_of(np.concatenate(pairs), len(pool.paths))


def _key(name: str, group: str) -> str:
    if group == FOLDER:
        return name.rpartition("/")[0]
    match = re.search(group, name)
    if match is None:
        return f"\0{name}"  # a group of its own
    return "\0".join(part or "" for part in match.groups()) if match.groups() else match[0]


def _tied_pairs(keys: Sequence[object]) -> Array:
    """Each number with the first one that has the same key."""
    first: dict[object, int] = {}
    return np.array([(first.setdefault(key, number), number) for number, key in enumerate(keys)], np.int64)


def _digest(path: str) -> bytes:
    try:
        return content_digest(read_bounded(path, MAX_FILE_BYTES))
    except DataError:
        return content_digest(os.fsencode(path))


def _parts(pool: _Pool, groups: Array, settings: SplitSettings) -> Array:
    """The part of each image, (N,)."""
    firsts, members = np.unique(groups, return_inverse=True)
    names = [pool.name_of(int(first)) for first in firsts]
    fractions = [1 / settings.folds] * settings.folds if settings.folds else settings.fractions
    if settings.folds and not settings.stratify:
        return balanced(names, np.bincount(members), settings.folds, settings.seed)[members]
    if not settings.stratify:
        return by_hash(names, fractions, settings.seed)[members]
    labels = np.zeros((len(firsts), len(pool.names)), np.int64)
    np.add.at(labels, members, pool.class_labels)
    return stratified(names, np.bincount(members), labels, fractions, settings.seed)[members]


def _fold(parts: Array, fold: int) -> dict[str, Array]:
    return {"train": np.flatnonzero(parts != fold), "val": np.flatnonzero(parts == fold)}


def _warn_of_other_fractions(divided: Mapping[str, Array], groups: Array, settings: SplitSettings) -> None:
    """Say so if a split has much less or more of the images than was asked for, and what cures it."""
    shares = {split: len(divided.get(split, ())) / len(groups) for split in SPLITS}
    missed = [
        f"{split} {100 * shares[split]:.1f} % instead of {100 * wanted:.1f} %"
        for split, wanted in zip(SPLITS, settings.fractions, strict=False)
        if abs(shares[split] - wanted) > MOST_MISSED
    ]
    if not missed:
        return
    largest = int(np.bincount(groups).max())
    cure = "`--stratify` comes nearer to them" if not settings.stratify else "another `--seed` may come nearer to them"
    if largest > LARGE_GROUP * len(groups):
        cure = f"the largest group of images that stay together has {largest}: see `--near` and `--group`; {cure}"
    logger.warning("the parts miss the fractions that were asked for: %s; %s", ", ".join(missed), cure)


def _require_full(divided: Sequence[Mapping[str, Array]], settings: SplitSettings, num_groups: int) -> None:
    wanted = {split for split, part in zip(SPLITS, settings.fractions, strict=False) if part}
    for one in divided:
        empty = {split for split in (("train", "val") if settings.folds else wanted) if not len(one.get(split, ()))}
        if empty:
            raise DataError(
                f"split `{min(empty)}` would have no image: there are {num_groups} images or groups to divide",
                hint="take other fractions, fewer folds, another seed, or `--stratify`",
            )


def _write(out: Path, pool: _Pool, divided: Sequence[Mapping[str, Array]], folders: Sequence[str]) -> list[Path]:
    """Write a folder of lists for each dataset, all or none; their YAML files, or without names the folders."""
    unfinished = out.with_name(f".{out.name}{TEMPORARY_MARK}{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        for one, name in zip(divided, folders or [""], strict=True):
            place, final = unfinished / name, out / name
            place.mkdir(exist_ok=True)
            for split, images in one.items():
                lines = [_line(pool.paths[image], final) for image in images.tolist()]
                _put(place / f"{split}.txt", b"".join(lines))
            if pool.names:
                lists = {split: f"{split}.txt" for split in one}
                _put(place / YAML_NAME, dump_yaml({"path": ".", **lists, "names": list(pool.names)}).encode())
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return [out / name / YAML_NAME if pool.names else out / name for name in folders or [""]]


def _line(path: str, folder: Path) -> bytes:
    inside = Path(path).is_relative_to(folder)
    line = os.fsencode(f"./{Path(path).relative_to(folder).as_posix()}" if inside else path)
    if b"\n" in line or b"\r" in line:
        raise DataError(f"image `{printable(path)}` has a line break in its name and cannot stand in a list")
    return line + b"\n"


def _put(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
