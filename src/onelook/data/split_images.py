"""Divides the images of a dataset into splits: groups of images stay together, and classes are divided alike."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onelook.data.annotation_paths import paths_in_folder
from onelook.data.capacity import available_processors
from onelook.data.dataset_copy import YAML_NAME
from onelook.data.dataset_layout import open_dataset
from onelook.data.dataset_spec import SPLITS, UNSPLIT, DatasetSpec, load_dataset_spec
from onelook.data.formats.registry import FORMATS
from onelook.data.image_files import MAX_LIST_BYTES, images_in_folder
from onelook.data.image_groups import image_groups
from onelook.data.parallel_map import StopTest, Work
from onelook.data.scan.index import scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.data.split_assignment import Array, balanced, by_hash, stratified
from onelook.data.split_folder import list_line
from onelook.data.splits import Splits, read_splits_of, scan_options
from onelook.errors import DataError, SettingsError, counted
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import printable, read_bounded
from onelook.files.cache_folder import default_cache_folder
from onelook.files.yaml import dump_yaml
from onelook.settings.split import SplitSettings
from onelook.settings.train import TrainSettings


@dataclass(frozen=True)
class ImagePool:
    """All images to divide: N paths in order, their root, class names, and (N, K) numbers of labels of each class.

    Attributes:
        spec: the dataset; None for a folder of images.
    """

    paths: tuple[str, ...]
    root: Path
    names: tuple[str, ...]
    class_labels: Array
    spec: DatasetSpec | None = None

    def name_of(self, image: int) -> str:
        """The name of an image, independent of where the dataset lies."""
        return os.path.relpath(self.paths[image], self.root).replace(os.sep, "/")


def pool_of(settings: SplitSettings, work: Work) -> ImagePool:
    """The images that the settings name.

    Raises:
        SettingsError: classes are to be divided alike, and they are not known.
        DataError: the data cannot be read, or are divided in a format that has no lists of images.
    """
    spec = _dataset_at(settings.data)
    if spec is None:
        folder = Path(os.path.abspath(settings.data))  # noqa: PTH100
        if settings.stratify:
            raise SettingsError(f"`{folder}` is a folder of images: its classes are not known", hint="give a YAML")
        paths = tuple(images_in_folder(folder)[0])
        if not paths:
            raise DataError(f"folder `{printable(folder)}` has no images")
        return ImagePool(paths, folder, (), np.zeros((len(paths), 0), np.int64))
    if spec.format != "yolo" and not spec.is_unsplit:
        raise DataError(
            f"`{printable(spec.path)}` is in the format {spec.format}, whose splits cannot be lists of images",
            hint="`onelook convert-data DATA --to yolo --out FOLDER` first",
        )
    return pool_in(spec, work)


def pool_in(spec: DatasetSpec, work: Work) -> ImagePool:
    """All images of a dataset."""
    paths = tuple(sorted({path for split in spec.splits for path in FORMATS[spec.format](spec, split, False).images}))
    return ImagePool(paths, spec.root, spec.names, _labels_of(spec, paths, work), spec)


def _dataset_at(path: Path) -> DatasetSpec | None:
    """The dataset; None for a folder of images."""
    if not path.is_dir():
        return open_dataset(path)
    if any(entry.suffix in (".yaml", ".yml") for entry in path.iterdir()):
        return load_dataset_spec(path)
    return None if paths_in_folder(Path(os.path.abspath(path))) is None else open_dataset(path)  # noqa: PTH100


def _labels_of(spec: DatasetSpec, paths: Sequence[str], work: Work) -> Array:
    """(N, K) numbers of labels of each class; images that cannot be used have none."""
    counts: dict[str, Array] = {}
    for split in spec.splits:
        options = ScanOptions(report_only=True)
        index = scan_split(spec, split, options=options, work=work, cache_folder=default_cache_folder()).index
        for image, path in enumerate(index.paths):
            counts[path] = np.bincount(index.class_ids[index.labels_of(image)], minlength=len(spec.names))
    nothing = np.zeros(len(spec.names), np.int64)
    return np.array([counts.get(path, nothing) for path in paths]).reshape(-1, len(spec.names))


def groups_in(pool: ImagePool, settings: SplitSettings, work: Work) -> Array:
    """The group of each image, (N,): the number of its first member."""
    names = [pool.name_of(image) for image in range(len(pool.paths))]
    return image_groups(pool.paths, names, group=settings.group, near=settings.near, work=work)


def parts_of(pool: ImagePool, groups: Array, settings: SplitSettings) -> Array:
    """The part of each image, (N,): the number of its split or fold."""
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


def split_by_share(spec: DatasetSpec, share: float, *, seed: int, stop: StopTest) -> DatasetSpec:
    """A dataset without splits, divided into train and val as `onelook split --stratify` does with the same seed.

    Args:
        share: fraction of the images that are used for training, above 0 and below 1.

    Raises:
        DataError: the data are divided already, cannot be read, or a split would be empty.
    """
    require_unsplit(spec)
    work = Work(available_processors(), stop)
    given = {"data": spec.path, "output": Path(), "fractions": [share, 1 - share], "stratify": True, "seed": seed}
    settings = SplitSettings.model_validate(given)
    pool = pool_in(spec, work)
    parts = parts_of(pool, groups_in(pool, settings, work), settings)
    images = {split: tuple(np.array(pool.paths)[parts == part].tolist()) for part, split in enumerate(SPLITS[:2])}
    for split, chosen in images.items():
        if not chosen:
            raise DataError(
                f"split `{split}` would have no image: {counted(len(pool.paths), 'image')} in all, "
                "and those that look alike stay together",
                hint="give another share, or divide them by hand with `onelook split`",
            )
    return with_images(spec, images)


def training_splits(settings: TrainSettings, recorded: Mapping[str, Sequence[str]], *, stop: StopTest) -> Splits:
    """The training and the validation data, of a dataset without splits as the settings split it.

    Args:
        recorded: see `recorded_lists`, of a run that is resumed; else none.

    Raises:
        DataError: they cannot be used.
    """
    spec = open_dataset(settings.data)
    if settings.split:
        require_unsplit(spec)
        share, seed = settings.split, settings.seed
        spec = as_recorded(spec, recorded) if recorded else split_by_share(spec, share, seed=seed, stop=stop)
    return read_splits_of(spec, ("train", "val"), options=scan_options(settings), stop=stop)


def require_unsplit(spec: DatasetSpec) -> None:
    """Raise DataError if a dataset has its own splits."""
    if not spec.is_unsplit:
        raise DataError(
            f"`{printable(spec.path)}` already has splits: {', '.join(spec.splits)}",
            hint="leave out `--split`; `onelook split` divides a dataset again",
        )


def with_images(spec: DatasetSpec, images: Mapping[str, tuple[str, ...]]) -> DatasetSpec:
    """A dataset without splits with these images, absolute, in its splits."""
    return replace(
        spec,
        splits=dict.fromkeys(images, spec.splits[UNSPLIT]),
        annotations=dict.fromkeys(images, spec.annotations[UNSPLIT]),
        chosen=images,
    )


def write_split(folder: Path, spec: DatasetSpec | None, images: Mapping[str, Sequence[str]], *, final: Path) -> None:
    """Write lists of images and a dataset YAML; images and labels stay where they are.

    Args:
        spec: whose images they are, of the format yolo or without splits; None for images without labels: lists only.
        images: image paths of each split, absolute.
        final: where the folder will be in the end.

    Raises:
        DataError: the name of an image cannot be written in a list.
    """
    is_yolo = spec is None or spec.format == "yolo"
    base = final if spec is None or is_yolo else next(iter(spec.splits.values()))[0]
    for split, paths in images.items():
        lines = [list_line(Path(path), base, mark="./" if is_yolo else "") for path in paths]
        write_bytes_atomic(folder / f"{split}.txt", b"".join(lines))
    if spec is None:
        return
    entries: dict[str, object] = {split: f"{split}.txt" for split in images}
    if not is_yolo:
        labels = str(next(iter(spec.annotations.values())))
        where = {"images": str(base), "annotations": labels}
        entries = {"format": spec.format, **{split: {**where, "list": f"{split}.txt"} for split in images}}
    content = {"path": ".", **entries, "names": list(spec.names)}
    write_bytes_atomic(folder / YAML_NAME, dump_yaml(content).encode())


def recorded_lists(folder: Path) -> dict[str, list[str]]:
    """The lines of the lists of each split, as `write_split` wrote them; none if it did not.

    Raises:
        DataError: a list cannot be read.
    """
    lists = {split: folder / f"{split}.txt" for split in SPLITS[:2]}
    if not all(path.is_file() for path in lists.values()):
        return {}
    return {
        split: [os.fsdecode(line) for line in read_bounded(path, MAX_LIST_BYTES).split(b"\n") if line]
        for split, path in lists.items()
    }


def as_recorded(spec: DatasetSpec, lists: Mapping[str, Sequence[str]]) -> DatasetSpec:
    """A dataset without splits with the images in its splits that the lines of lists name."""
    images = str(spec.splits[UNSPLIT][0])
    paths = {split: tuple(os.path.normpath(f"{images}/{line}") if not os.path.isabs(line) else line for line in lines)  # noqa: PTH117
              for split, lines in lists.items()}  # fmt: skip
    return with_images(spec, paths)
