"""Datasets without a YAML, recognised by the layout of their files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from onelook.data.annotation_paths import AnnotationPaths, paths_in_folder, paths_of_file
from onelook.data.dataset_names import names_in_labels
from onelook.data.dataset_spec import UNSPLIT, DatasetSpec, load_dataset_spec
from onelook.data.sets import PUBLIC_SETS
from onelook.errors import DataError
from onelook.files.bounded import printable

DEFAULT_NAME = "data.yaml"
"""Where the setting `data` looks unless it is set."""
UNKNOWN_SETS = ("argoverse", "coco8", "coco128", "globalwheat2020", "sku-110k", "voc", "xview")
"""Datasets whose names come with other trainers."""
LOOKED_FOR = (
    "data.yaml, or exactly one other .yaml file",
    "COCO: annotations/instances_train*.json and annotations/instances_val*.json",
    "COCO: train/_annotations.coco.json and valid/_annotations.coco.json",
    "Parquet: train*.parquet and validation*.parquet, there or in data/",
    "Pascal VOC: Annotations/, JPEGImages/, ImageSets/Main/train.txt and ImageSets/Main/val.txt",
    "VisDrone: VisDrone*-DET-train/ and VisDrone*-DET-val/, each with images/ and annotations/",
    "one file of COCO, Label Studio, CVAT or CSV, there or in annotations/; or in train/ and in valid/",
    "Pascal VOC or LabelMe: an .xml or .json beside each image, or in annotations/; or so in train/ and in valid/",
)
_SPLIT_WORDS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def open_dataset(path: str | os.PathLike[str]) -> DatasetSpec:
    """The dataset that a path names.

    Args:
        path: a dataset YAML; a folder with one, or in a known layout; or a file of labels, either of the training
            split, with that of the validation split beside it, or of all images: then there are no splits.

    Raises:
        DataError: no dataset is there, or it cannot be used.
    """
    given = Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - no HOME is fine
    if given.suffix.lower() in (".json", ".csv", ".xml") and given.is_file():
        return _of_file(given)
    if given.stem in PUBLIC_SETS and not given.exists():
        raise DataError(
            f"dataset `{printable(os.fspath(path))}` is not on this machine",
            hint=f"fetch it with `onelook download {given.stem}`, which says what to give as `--data`",
        )
    if given.name == DEFAULT_NAME and not given.exists():
        raise DataError(
            f"file `{printable(given)}` does not exist",
            hint="name the dataset with `--data`; relative paths start at the current folder",
        )
    if given.stem.lower() in UNKNOWN_SETS and not given.exists():
        raise DataError(
            f"dataset `{printable(os.fspath(path))}` is not on this machine, and not among those that Onelook fetches",
            hint="`onelook download` lists these; `onelook download coco-val` is the quickest to try",
        )
    if not given.is_dir() or any(entry.suffix.lower() in {".yaml", ".yml"} for entry in given.iterdir()):
        return load_dataset_spec(given)
    for layout in (_coco_folder, _coco_files_by_split, _parquet_folder, _voc_folder, _visdrone_folder, _split_folders,
                   _unsplit_folder):  # fmt: skip
        spec = layout(given)
        if spec is not None:
            return spec
    looked_for = "\n".join(f"  - {what}" for what in LOOKED_FOR)
    raise DataError(
        f"folder `{printable(given)}` holds no dataset in a known layout; looked for:\n{looked_for}",
        hint="describe it in a YAML with `path`, `train` and `val` (folders of images) and `names`",
    )


def _coco_folder(folder: Path) -> DatasetSpec | None:
    """`annotations/instances_train2017.json` with images in `train2017` or `images/train2017`, or the like."""
    files = {
        split: sorted(
            path
            for word in words
            for path in (folder / "annotations").glob(f"instances_{word}*.json")
            if path.is_file() and not path.stem[len("instances_") + len(word) :].isalpha()
        )
        for split, words in _SPLIT_WORDS.items()
    }
    if not files["train"] or not files["val"]:
        return None
    return _spec_of_files(folder, folder, _one_of_each(folder, files, "COCO files"))


def _coco_files_by_split(folder: Path) -> DatasetSpec | None:
    """`train/_annotations.coco.json` with its images beside it, and so on."""
    files = {
        split: path
        for split, words in _SPLIT_WORDS.items()
        for path in [folder / word / "_annotations.coco.json" for word in reversed(words)]
        if path.is_file()
    }
    return _spec_of_files(folder, folder, files) if {"train", "val"} <= set(files) else None


def _parquet_folder(folder: Path) -> DatasetSpec | None:
    """`data/train-00000-of-00001.parquet` and so on, as Hugging Face lays them out."""
    for parent in (folder / "data", folder):
        files = {
            split: tuple(sorted({path for word in words for path in parent.glob(f"{word}*.parquet")}))
            for split, words in _SPLIT_WORDS.items()
        }
        if files["train"] and files["val"]:
            files = {split: paths for split, paths in files.items() if paths}
            return DatasetSpec(folder, folder, files, names_in_labels(files, "parquet"), format="parquet")
    return None


def _voc_folder(folder: Path) -> DatasetSpec | None:
    """`JPEGImages/`, `Annotations/` and the lists of `ImageSets/Main/`."""
    lists = {split: folder / "ImageSets" / "Main" / f"{split}.txt" for split in _SPLIT_WORDS}
    lists = {split: path for split, path in lists.items() if path.is_file()}
    images, annotations = folder / "JPEGImages", folder / "Annotations"
    if not (images.is_dir() and annotations.is_dir() and {"train", "val"} <= set(lists)):
        return None
    return DatasetSpec(
        path=folder,
        root=folder,
        splits=dict.fromkeys(lists, (images,)),
        names=names_in_labels(dict.fromkeys(lists, (annotations,)), "voc"),
        format="voc",
        annotations=dict.fromkeys(lists, annotations),
        lists=lists,
    )


def _visdrone_folder(folder: Path) -> DatasetSpec | None:
    """`VisDrone2019-DET-train/` and so on, each with `images/` and `annotations/`."""
    found = {
        split: [one for one in sorted(folder.glob(f"VisDrone*-DET-{word}")) if (one / "annotations").is_dir()]
        for split, word in (("train", "train"), ("val", "val"), ("test", "test-dev"))
    }
    if not found["train"] or not found["val"]:
        return None
    folders = _one_of_each(folder, found, "folders of VisDrone")
    paths = {split: AnnotationPaths("visdrone", of / "images", of / "annotations") for split, of in folders.items()}
    return _spec_of(folder, folder, paths)


def _split_folders(folder: Path) -> DatasetSpec | None:
    """`train/` and `valid/`, each with its images and its labels in a format of an annotation tool."""
    found = {
        split: paths
        for split, words in _SPLIT_WORDS.items()
        for path in [folder / word for word in reversed(words)]
        if path.is_dir() and (paths := paths_in_folder(path)) is not None
    }
    if not {"train", "val"} <= set(found) or len({paths.format for paths in found.values()}) > 1:
        return None
    return _spec_of(folder, folder, found)


def _unsplit_folder(folder: Path) -> DatasetSpec | None:
    paths = paths_in_folder(folder)
    return None if paths is None else _spec_of(folder, folder, {UNSPLIT: paths})


def _of_file(file: Path) -> DatasetSpec:
    """The dataset of a file: split, if `train` in its name can be replaced by `val` or `test`; else without splits."""
    head, found, tail = file.name.rpartition("train")
    files = {"train": file}
    for split, words in _SPLIT_WORDS.items():
        others = [file.with_name(f"{head}{word}{tail}") for word in words]
        there = [path for path in others if found and path.is_file()]
        if there and split != "train":
            files[split] = there[0]
    if "val" not in files:
        files = {UNSPLIT: file}
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    return _spec_of_files(file, root, files)


def _one_of_each(folder: Path, found: Mapping[str, Sequence[Path]], what: str) -> dict[str, Path]:
    """The path of each split that has one; DataError if one has several."""
    for split, paths in found.items():
        if len(paths) > 1:
            raise DataError(
                f"folder `{printable(folder)}` has several {what} for the split `{split}`: "
                f"{', '.join(f'`{printable(path.name)}`' for path in paths)}",
                hint="say in a dataset YAML which to use",
            )
    return {split: paths[0] for split, paths in found.items() if paths}


def _spec_of_files(path: Path, root: Path, files: Mapping[str, Path]) -> DatasetSpec:
    return _spec_of(path, root, {split: paths_of_file(file, split) for split, file in files.items()})


def _spec_of(path: Path, root: Path, found: Mapping[str, AnnotationPaths]) -> DatasetSpec:
    label_format = next(iter(found.values())).format
    annotations = {split: paths.annotations for split, paths in found.items()}
    return DatasetSpec(
        path=path,
        root=root,
        splits={split: (paths.images,) for split, paths in found.items()},
        names=names_in_labels({split: (paths,) for split, paths in annotations.items()}, label_format),
        format=label_format,
        annotations=annotations,
    )
