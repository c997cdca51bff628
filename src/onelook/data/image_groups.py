"""Groups of images that stay together when a dataset is split: by name, or because they look alike."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from onelook.data.image_hashes import image_hashes
from onelook.data.near_duplicates import alike_pairs, groups_around_leaders, groups_of, mirrored_pairs
from onelook.data.parallel_map import Work, each
from onelook.data.split_assignment import Array
from onelook.files.bounded import content_digest, file_digest
from onelook.files.cache_folder import default_cache_folder
from onelook.files.images import MAX_FILE_BYTES
from onelook.settings.split import FOLDER


def image_groups(paths: Sequence[str], names: Sequence[str], *, group: str, near: int, work: Work) -> Array:
    """The group of each image, (N,): the number of its first member.

    Args:
        names: their names, independent of where the dataset lies.
        group: images with the same match of this pattern, or `FOLDER` for the same folder, stay together; may be empty.
        near: number of bits up to which hashes may differ for images to stay together; -1 does not compare images.
    """
    pairs = [np.zeros((0, 2), np.int64)]
    if group:
        pairs.append(_tied_pairs([_key(name, group) for name in names]))
    if near >= 0:
        pairs.append(_tied_pairs(list(each(_digest, paths, work, name="the comparison of the images"))))
        hashes = image_hashes(paths, work=work, cache_folder=default_cache_folder())
        alike = np.concatenate([alike_pairs(hashes, near), mirrored_pairs(hashes, near)])
        return groups_around_leaders(groups_of(np.concatenate(pairs), len(paths)), alike)
    return groups_of(np.concatenate(pairs), len(paths))


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
    return file_digest(path, MAX_FILE_BYTES) or content_digest(os.fsencode(path))
