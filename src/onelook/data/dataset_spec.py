"""The dataset YAML: where the images of each split are and what the classes are called."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onelook.data.dataset_names import names_of
from onelook.data.image_files import IMAGE_SUFFIXES, exists, images_by_stem, images_in_folder, images_in_list
from onelook.data.path_readings import folder_readings
from onelook.errors import DataError, counted
from onelook.files.bounded import printable
from onelook.files.yaml import load_yaml
from onelook.settings.nearest_name import nearest_name

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
UNSPLIT = "all"
"""The only split of a dataset that is not divided: a file or a folder of an annotation tool."""
KEYS = ("path", *SPLITS, "nc", "names", "download", "format", "difficult", "kpt_shape")
# For each format: what a split is described by, if not by the path of its images alone; what may be left out.
FORMAT_PATHS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "yolo": ((), ()),
    "coco": (("images", "annotations"), ("list",)),
    "voc": (("images", "annotations"), ("list",)),
    "parquet": ((), ()),
    "visdrone": (("images", "annotations"), ()),
    "labelme": (("images", "annotations"), ("list",)),
    "labelstudio": (("images", "annotations"), ("list",)),
    "cvat": (("images", "annotations"), ("list",)),
    "csv": (("images", "annotations"), ("list",)),
}
MAX_KEYPOINTS = 10_000
DIFFICULT = ("ignore", "use")
_OF_ONE_FOLDER = ("coco", "labelstudio", "cvat", "csv")
"""Formats with one file for all images of a split, whose names count from one folder."""
_WITH_PATHS = tuple(name for name, (required, _) in FORMAT_PATHS.items() if required)
# Written by labelling tools and other trainers; without meaning here.
FOREIGN_KEYS = frozenset(
    {"roboflow", "license", "licence", "version", "description", "author", "url", "date", "info",
     "flip_idx", "channels"}
)  # fmt: skip


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as its YAML describes it; nothing but the YAML has been read.

    Attributes:
        path: the YAML file, absolute.
        root: the folder that relative entries start from, absolute.
        splits: `train`, `val` and, if given, `test`: folders of images and text files that list images, absolute; or
            `UNSPLIT` alone.
        names: class names; the position is the class id.
        has_download: the YAML has a `download` key, which is never run.
        format: label format, a key of `FORMAT_PATHS`.
        annotations: for formats that keep labels apart from images, a file or folder for each split, absolute.
        lists: text files that name the images of a split, of the format voc without suffix; absolute. Without one, all
            are used.
        keep_difficult: objects that are marked as difficult are used like all others.
        keypoint_columns: keypoint columns that may follow a box in the format yolo; they are skipped.
        chosen: images of each split, absolute, of a dataset that Onelook divided; takes precedence over `lists`.
    """

    path: Path
    root: Path
    splits: Mapping[str, tuple[Path, ...]]
    names: tuple[str, ...]
    has_download: bool = False
    format: str = "yolo"
    annotations: Mapping[str, Path] = field(default_factory=dict)
    lists: Mapping[str, Path] = field(default_factory=dict)
    keep_difficult: bool = False
    keypoint_columns: int = 0
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_unsplit(self) -> bool:
        """Whether the dataset does not say which images are for training and which for validation."""
        return UNSPLIT in self.splits

    def class_of_name(self, single_cls: bool) -> dict[str, int] | None:
        """Class name -> class id; None if all objects are class 0."""
        return None if single_cls else {name: class_id for class_id, name in enumerate(self.names)}

    def rules(self, single_cls: bool) -> str:
        """Format and class names, as text: what the reading of labels depends on in all formats with class names."""
        return f"{self.format} {'any' if single_cls else json.dumps(self.names)}"

    def chosen_images(self, split: str) -> tuple[str, ...] | None:
        """The images of a split that are used, absolute, if they are not all of those at its paths; None for all."""
        if split in self.chosen:
            return self.chosen[split]
        if split not in self.lists:
            return None
        if self.format == "voc":
            return tuple(image for entry in self.splits[split] for image in images_by_stem(self.lists[split], entry))
        return tuple(images_in_list(self.lists[split], self.splits[split][0]))

    def require(self, split: str) -> None:
        """Raise DataError if the dataset has no such split."""
        if self.is_unsplit and split != UNSPLIT:
            raise DataError(
                f"`{printable(self.path)}` is not divided into train and val",
                hint="`onelook split DATA --output FOLDER --stratify` divides it; or `onelook train --split 0.8`",
            )
        if split not in self.splits:
            raise DataError(
                f"dataset `{printable(self.path)}` has no split `{split}`; it has {', '.join(self.splits)}",
                hint=f"add a line `{split}: folder/of/images`",
            )


def load_dataset_spec(path: str | os.PathLike[str]) -> DatasetSpec:
    """Read a dataset YAML.

    Relative `path` starts at the folder of the YAML; if nothing is there, at the current folder (other trainers start
    at their installation). An entry that begins with `../` and does not exist is tried without it, as datasets from
    labelling services need.

    Args:
        path: the YAML, or a folder that holds `data.yaml` or exactly one YAML.

    Raises:
        DataError: missing, not a YAML we can read, or its content is wrong: unknown keys, no train or val, class names
            that are doubled, have gaps or do not fit `nc`.
    """
    yaml_path = _yaml_of(Path(os.path.abspath(os.path.expanduser(path))))  # noqa: PTH100, PTH111 - no HOME is fine
    content = load_yaml(yaml_path, error=DataError)
    _check_keys(content, yaml_path)
    label_format = _choice(content, "format", tuple(FORMAT_PATHS), yaml_path)
    root = _root_of(content.get("path"), yaml_path)
    splits, apart = {}, {}
    for split in SPLITS:
        if content.get(split) in (None, ""):
            continue
        images, others = _paths_of(content[split], label_format, f"dataset file `{printable(yaml_path)}`: `{split}`")
        entries = _entries(images, split, yaml_path)
        is_of_one = label_format in _OF_ONE_FOLDER or (label_format == "voc" and "list" in others)
        if is_of_one and len(set(entries)) > 1:
            raise DataError(
                f"dataset file `{printable(yaml_path)}`: `{split}` has {len(entries)} folders of images",
                hint=f"in the format {label_format}, give the one folder that holds them all",
            )
        splits[split] = tuple(_entry_path(entry, root) for entry in entries)
        apart[split] = {key: _entry_path(_entries(entry, split, yaml_path)[0], root) for key, entry in others.items()}
    annotations, lists = (
        {split: paths[key] for split, paths in apart.items() if key in paths} for key in ("annotations", "list")
    )
    # Where the labels of each split are: apart, or with the images.
    labels = {split: (annotations[split],) if split in annotations else images for split, images in splits.items()}
    spec = DatasetSpec(
        yaml_path,
        root,
        splits,
        names_of(content, yaml_path, label_format=label_format, labels=labels),
        bool(content.get("download")),
        label_format,
        annotations,
        lists,
        _choice(content, "difficult", DIFFICULT, yaml_path) == "use",
        _keypoint_columns(content.get("kpt_shape"), yaml_path),
    )
    if spec.has_download and all(exists(entry) for split in ("train", "val") for entry in spec.splits[split]):
        logger.warning("dataset file `%s`: `download` is ignored; Onelook never runs it", printable(yaml_path))
    return spec


def split_images(spec: DatasetSpec, split: str) -> tuple[list[str], list[str]]:
    """The image files of a split, absolute, sorted, each once; and files in its folders that look like images.

    Folders are searched at all depths for names with an image suffix. What list files name is taken as it stands,
    existing or not, so that the scan can report it.

    Raises:
        DataError: the split is not in the YAML, one of its entries does not exist, or it holds no image.
    """
    spec.require(split)
    chosen = spec.chosen_images(split)
    found: list[str] = list(chosen or ())
    unread: list[str] = []
    others: Counter[str] = Counter()
    for entry in spec.splits[split] if chosen is None else ():
        if os.path.isdir(entry):  # noqa: PTH112 - no error where a folder above is closed
            images, passed_over, looks_like_images = images_in_folder(entry)
            others += passed_over
            unread += looks_like_images
        else:
            images = images_in_list(_existing_list(entry, spec, split), spec.root)
        found += images
    unique = sorted(set(found))
    if not unique:
        raise _empty_split(spec, split, others)
    if len(unique) < len(found):
        logger.warning(
            "split `%s` names %s more than once; each is used once", split, counted(len(found) - len(unique), "image")
        )
    return unique, sorted(set(unread))


def _yaml_of(path: Path) -> Path:
    if path.suffix.lower() == ".zip":
        raise DataError(f"`{printable(path)}` is an archive", hint="unpack it and give the YAML file inside")
    if not path.is_dir():
        return path
    if (path / "data.yaml").is_file():
        return path / "data.yaml"
    candidates = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in {".yaml", ".yml"})
    if len(candidates) == 1:
        return candidates[0]
    raise DataError(
        f"folder `{printable(path)}` holds no `data.yaml` and {len(candidates)} other YAML files",
        hint="give the dataset YAML itself",
    )


def _check_keys(content: Mapping[str, Any], path: Path) -> None:
    problems = []
    for key in content:
        if key in FOREIGN_KEYS:
            logger.warning("dataset file `%s`: key `%s` is ignored", printable(path), key)
        elif key not in KEYS:
            near = nearest_name(str(key), KEYS, otherwise="")
            problems.append(f"unknown key `{key}`" + (f"; {near}" if near else ""))
    problems += [f"`{split}` is missing" for split in ("train", "val") if content.get(split) in (None, "")]
    if problems:
        raise DataError(
            f"dataset file `{printable(path)}`: {'; '.join(problems)}",
            hint=f"the keys are {', '.join(KEYS)}; train and val are required and may name the same folder",
        )


def _choice(content: Mapping[str, Any], key: str, known: tuple[str, ...], path: Path) -> str:
    """The value of a key that takes one of a few words; the first if it is not given."""
    value = content.get(key, known[0])
    if value not in known:
        raise DataError(f"dataset file `{printable(path)}`: `{key}` is {value!r}", hint=f"known are {', '.join(known)}")
    return str(value)


def _keypoint_columns(value: Any, path: Path) -> int:
    """Number of columns after the box in a row with keypoints; 0 if there are none."""
    if value is None:
        return 0
    is_shape = isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)
    if not is_shape or not 0 < value[0] <= MAX_KEYPOINTS or value[1] not in (2, 3):
        raise DataError(
            f"dataset file `{printable(path)}`: `kpt_shape` is {value!r}",
            hint="give the number of keypoints and of their columns, 2 or 3: `kpt_shape: [17, 3]`",
        )
    return int(value[0] * value[1])


def _paths_of(value: Any, label_format: str, where: str) -> tuple[Any, dict[str, str]]:
    """The paths of the images and, in formats that keep them apart, the labels of a split, as written."""
    required, optional = FORMAT_PATHS[label_format]
    if not required and not isinstance(value, dict):
        return value, {}
    if not required:
        raise DataError(f"{where} has several paths", hint=f"say which `format` it has: {', '.join(_WITH_PATHS)}")
    paths = value if isinstance(value, dict) else {}
    others = {str(key): entry for key, entry in paths.items() if key != "images"}
    is_text = all(isinstance(entry, str) and entry for entry in others.values())
    if not (set(required) <= set(paths) <= {*required, *optional} and is_text):
        may_have = f", and may have {', '.join(optional)}" if optional else ""
        raise DataError(
            f"{where} is {value!r}", hint=f"a split of the format {label_format} has {', '.join(required)}{may_have}"
        )
    return value["images"], others


def _root_of(value: object, yaml_path: Path) -> Path:
    if value is None or value == "":
        return yaml_path.parent
    if not isinstance(value, str):
        raise DataError(f"dataset file `{printable(yaml_path)}`: `path` is {value!r}, not the name of a folder")
    given = os.path.expanduser(value)  # noqa: PTH111
    beside, current = Path(os.path.normpath(yaml_path.parent / given)), Path(given).absolute()
    if exists(beside):
        return beside
    found = next(filter(exists, [current, *folder_readings(given, yaml_path.parent)]), None)
    if found is not None:
        return found
    logger.warning("`path: %s` is not there; entries are looked for beside the YAML", printable(value))
    return yaml_path.parent


def _entries(value: object, split: str, path: Path) -> list[str]:
    entries: list[Any] = value if isinstance(value, list) else [value]
    for entry in entries:
        if not isinstance(entry, str) or not entry:
            raise DataError(f"dataset file `{printable(path)}`: `{split}` holds {entry!r}, not a folder or text file")
        if any(ord(character) < ord(" ") for character in entry):
            raise DataError(
                f"dataset file `{printable(path)}`: `{split}` is {entry!r}, with a control character",
                hint="in double quotes a backslash begins an escape; write paths with `/`, in single quotes or in none",
            )
        if "://" in entry:
            raise DataError(
                f"dataset file `{printable(path)}`: `{split}` is the address `{entry}`; data are never downloaded",
                hint="fetch the data yourself and give the folder",
            )
    if not entries:
        raise DataError(f"dataset file `{printable(path)}`: `{split}` is an empty list")
    return entries


def _entry_path(entry: str, root: Path) -> Path:
    path = Path(os.path.normpath(root / entry))
    if exists(path):
        return path
    found = next(filter(exists, folder_readings(entry, root)), None)
    if found is None:
        return path
    logger.warning("`%s` is not there; `%s` is read", printable(path), printable(found))
    return found


def _existing_list(entry: Path, spec: DatasetSpec, split: str) -> Path:
    where = f"dataset file `{printable(spec.path)}`: `{split}` names `{printable(entry)}`"
    if not exists(entry):
        hint = "relative entries start at `path`, and `path` at the folder of the YAML"
        if spec.has_download:
            hint = "the YAML has a `download` key, which Onelook never runs; try `onelook download`"
        raise DataError(f"{where}, which does not exist", hint=hint)
    if entry.suffix.lower() != ".txt":
        raise DataError(f"{where}, which is neither a folder nor a .txt list of images")
    return entry


def _empty_split(spec: DatasetSpec, split: str, others: Counter[str]) -> DataError:
    entries = ", ".join(f"`{printable(entry)}`" for entry in spec.splits[split])
    found = ", ".join(f"{count} x {suffix}" for suffix, count in others.most_common(5)) or "no files at all"
    return DataError(
        f"split `{split}` of `{printable(spec.path)}` has no images: searched {entries} "
        f"for {' '.join(sorted(IMAGE_SUFFIXES))}; found {found}",
        hint="check the folder; images may lie at any depth below it",
    )
