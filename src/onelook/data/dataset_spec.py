"""The data-set YAML: where the images of each split are and what the classes are called."""

from __future__ import annotations

import difflib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.data.image_files import IMAGE_SUFFIXES, exists, images_in_folder, images_in_list
from onelook.errors import DataError
from onelook.files.bounded import printable
from onelook.files.yaml import load_yaml

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
KEYS = ("path", *SPLITS, "nc", "names", "download")
# Written by labelling tools and other trainers; without meaning here.
FOREIGN_KEYS = frozenset(
    {"roboflow", "license", "licence", "version", "description", "author", "url", "date", "info",
     "kpt_shape", "flip_idx", "channels"}
)  # fmt: skip


@dataclass(frozen=True)
class DatasetSpec:
    """A data set as its YAML describes it; nothing but the YAML has been read.

    Attributes:
        path: the YAML file, absolute.
        root: the folder that relative entries start from, absolute.
        splits: `train`, `val` and, if given, `test`: folders of images and text files that list images, absolute.
        names: class names; the position is the class id.
        has_download: the YAML says how to fetch the data; that is never done.
        format: of the labels, a key of `FORMATS`.
    """

    path: Path
    root: Path
    splits: Mapping[str, tuple[Path, ...]]
    names: tuple[str, ...]
    has_download: bool = False
    format: str = "yolo"


def load_dataset_spec(path: str | os.PathLike[str]) -> DatasetSpec:
    """Read a data-set YAML.

    Relative `path` starts at the folder of the YAML; if nothing is there, at the current folder (other trainers start
    at their installation). An entry that begins with `../` and does not exist is tried without it, as data sets from
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
    root = _root_of(content.get("path"), yaml_path)
    splits = {
        split: tuple(_entry_path(entry, root) for entry in _entries(content[split], split, yaml_path))
        for split in SPLITS
        if content.get(split) not in (None, "")
    }
    names = _names_of(content, yaml_path)
    spec = DatasetSpec(yaml_path, root, splits, names, has_download=bool(content.get("download")))
    if spec.has_download and all(exists(entry) for split in ("train", "val") for entry in spec.splits[split]):
        logger.warning("data-set file `%s`: `download` is ignored; Onelook never runs it", printable(yaml_path))
    return spec


def list_images(spec: DatasetSpec, split: str) -> list[Path]:
    """As `image_names`, as paths."""
    return [Path(image) for image in image_names(spec, split)]


def image_names(spec: DatasetSpec, split: str) -> list[str]:
    """The image files of a split, absolute, sorted, each once.

    Folders are searched at all depths for names with an image suffix. What list files name is taken as it stands,
    existing or not, so that the scan can report it.

    Raises:
        DataError: the split is not in the YAML, one of its entries does not exist, or it holds no image.
    """
    if split not in spec.splits:
        raise DataError(
            f"data-set file `{printable(spec.path)}` has no split `{split}`; it has {', '.join(spec.splits)}",
            hint=f"add a line `{split}: folder/of/images`",
        )
    found: list[str] = []
    others: Counter[str] = Counter()
    for entry in spec.splits[split]:
        if os.path.isdir(entry):  # noqa: PTH112 - no error where a folder above is closed
            images, passed_over = images_in_folder(entry)
            others += passed_over
        else:
            images = images_in_list(_existing_list(entry, spec, split), spec.root)
        found += images
    unique = sorted(set(found))
    if not unique:
        raise _empty_split(spec, split, others)
    if len(unique) < len(found):
        logger.warning("split `%s` names %d images more than once; each is used once", split, len(found) - len(unique))
    return unique


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
        hint="give the data-set YAML itself",
    )


def _check_keys(content: Mapping[str, Any], path: Path) -> None:
    problems = []
    for key in content:
        if key in FOREIGN_KEYS:
            logger.warning("data-set file `%s`: key `%s` is ignored", printable(path), key)
        elif key not in KEYS:
            near = difflib.get_close_matches(str(key).lower(), KEYS, 1, 0.5)
            problems.append(f"unknown key `{key}`" + (f"; did you mean `{near[0]}`?" if near else ""))
    problems += [f"`{split}` is missing" for split in ("train", "val") if content.get(split) in (None, "")]
    if problems:
        raise DataError(
            f"data-set file `{printable(path)}`: {'; '.join(problems)}",
            hint=f"the keys are {', '.join(KEYS)}; train and val are required and may name the same folder",
        )


def _root_of(value: object, yaml_path: Path) -> Path:
    if value is None or value == "":
        return yaml_path.parent
    if not isinstance(value, str):
        raise DataError(f"data-set file `{printable(yaml_path)}`: `path` is {value!r}, not the name of a folder")
    given = os.path.expanduser(value)  # noqa: PTH111
    beside, current = Path(os.path.normpath(yaml_path.parent / given)), Path(given).absolute()
    return current if not exists(beside) and exists(current) else beside


def _entries(value: object, split: str, path: Path) -> list[str]:
    entries: list[Any] = value if isinstance(value, list) else [value]
    for entry in entries:
        if not isinstance(entry, str) or not entry:
            raise DataError(f"data-set file `{printable(path)}`: `{split}` holds {entry!r}, not a folder or text file")
        if "://" in entry:
            raise DataError(
                f"data-set file `{printable(path)}`: `{split}` is the address `{entry}`; data are never downloaded",
                hint="fetch the data yourself and give the folder",
            )
    if not entries:
        raise DataError(f"data-set file `{printable(path)}`: `{split}` is an empty list")
    return entries


def _entry_path(entry: str, root: Path) -> Path:
    place = Path(os.path.normpath(root / entry))
    if not exists(place) and entry.startswith("../"):
        inside = Path(os.path.normpath(root / entry[3:]))
        return inside if exists(inside) else place
    return place


def _names_of(content: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    where = f"data-set file `{printable(path)}`"
    names, nc = content.get("names"), content.get("nc")
    if nc is not None and (not isinstance(nc, int) or isinstance(nc, bool) or nc < 1):
        raise DataError(f"{where}: `nc` is {nc!r}, not a number of classes")
    if names is None and nc is not None:
        logger.warning("%s has no `names`; the classes are called class0 to class%d", where, nc - 1)
        return tuple(f"class{number}" for number in range(nc))
    if isinstance(names, dict):
        names = _names_in_order(names, where)
    if not isinstance(names, list) or not names:
        raise DataError(f"{where}: `names` is {names!r}", hint="write `names: [cat, dog]`, in the order of class ids")
    bad = [f"{class_id}: {name!r}" for class_id, name in enumerate(names) if not _is_name(name)]
    if bad:
        raise DataError(
            f"{where}: these class names are not text: {', '.join(bad)}",
            hint="YAML reads yes, no, on, off and null as something else; write such names in quotes",
        )
    texts = tuple(str(name) for name in names)
    doubled = [name for name, times in Counter(texts).items() if times > 1]
    if doubled:
        ids = "; ".join(f"`{name}`: ids {_joined(i for i, n in enumerate(texts) if n == name)}" for name in doubled)
        raise DataError(f"{where}: class names are given twice: {ids}")
    if nc is not None and nc != len(texts):
        raise DataError(
            f"{where}: `nc` is {nc}, but `names` has {len(texts)} classes, ids 0 to {len(texts) - 1}",
            hint="drop `nc`; it is not needed",
        )
    return texts


def _names_in_order(names: Mapping[Any, Any], where: str) -> list[Any]:
    strange = [key for key in names if not isinstance(key, int) or isinstance(key, bool)]
    if strange:
        raise DataError(f"{where}: class ids in `names` must be whole numbers; found {_joined(map(repr, strange))}")
    missing = sorted(set(range(len(names))) - set(names))
    if missing:
        raise DataError(
            f"{where}: class ids in `names` must run from 0 to {len(names) - 1}; missing {_joined(missing)}, "
            f"beyond the end {_joined(sorted(set(names) - set(range(len(names)))))}",
        )
    return [names[class_id] for class_id in range(len(names))]


def _is_name(value: object) -> bool:
    return (isinstance(value, str) and bool(value.strip())) or type(value) in (int, float)


def _joined(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)


def _existing_list(entry: Path, spec: DatasetSpec, split: str) -> Path:
    where = f"data-set file `{printable(spec.path)}`: `{split}` names `{printable(entry)}`"
    if not exists(entry):
        hint = "relative entries start at `path`, and `path` at the folder of the YAML"
        if spec.has_download:
            hint = "the YAML has a `download` key, which Onelook never runs; fetch the data yourself"
        raise DataError(f"{where}, which does not exist", hint=hint)
    if entry.suffix.lower() != ".txt":
        raise DataError(f"{where}, which is neither a folder nor a .txt list of images")
    return entry


def _empty_split(spec: DatasetSpec, split: str, others: Counter[str]) -> DataError:
    entries = _joined(f"`{printable(entry)}`" for entry in spec.splits[split])
    found = _joined(f"{count} x {suffix}" for suffix, count in others.most_common(5)) or "no files at all"
    return DataError(
        f"split `{split}` of `{printable(spec.path)}` has no images: searched {entries} "
        f"for {' '.join(sorted(IMAGE_SUFFIXES))}; found {found}",
        hint="check the folder; images may lie at any depth below it",
    )
