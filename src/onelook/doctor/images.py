"""Duplicate images within and across splits, blank images, and images that EXIF rotates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from onelook.data.image_hashes import ImageHashes
from onelook.data.near_duplicates import alike_pairs, mirrored_pairs
from onelook.doctor.findings import Finding, Scans
from onelook.files.bounded import printable

_TURNED = {2: "mirrored", 3: "upside down", 4: "mirrored upside down"}


@dataclass(frozen=True)
class AllImages:
    """The usable images of all splits, the largest split first.

    Attributes:
        positions: split of each image, and its number in the index of that split.
        digests: (N, 16) of the content.
    """

    positions: tuple[tuple[str, int], ...]
    paths: tuple[str, ...]
    digests: npt.NDArray[np.uint8]
    hashes: ImageHashes

    @staticmethod
    def of(scans: Scans, hashes: Mapping[str, ImageHashes]) -> AllImages:
        """The images of all splits."""
        order = sorted(scans, key=lambda split: -len(scans[split].index))
        joined = {
            field.name: np.concatenate([getattr(hashes[split], field.name) for split in order])
            for field in fields(ImageHashes)
        }
        return AllImages(
            tuple((split, image) for split in order for image in range(len(scans[split].index))),
            tuple(path for split in order for path in scans[split].index.paths),
            np.concatenate([scans[split].image_digests for split in order]),
            ImageHashes(**joined),
        )


def doubled_findings(images: AllImages, max_bits: int) -> Iterator[Finding]:
    """Duplicate images: the same byte for byte, or similar, mirrored or not.

    One of a pair is reported: across splits, the one in the smaller split; within a split, the later one.

    Args:
        max_bits: most bits in which the hashes of similar images differ; -1 reports none.
    """
    same: dict[bytes, list[int]] = defaultdict(list)
    for number, digest in enumerate(map(bytes, images.digests)):
        same[digest].append(number)
    first_of = np.arange(len(images.paths))
    for numbers in same.values():
        first_of[numbers] = numbers[0]
        for number in numbers[1:]:
            yield _finding(images, number, _twin(images, number, numbers), "image", "has the same content as")
    if max_bits < 0:
        return
    reported: set[tuple[int, int]] = set()
    for search, words in ((alike_pairs, "looks like"), (mirrored_pairs, "looks like the mirror image of")):
        alike: dict[int, list[int]] = defaultdict(list)
        for one, other in search(images.hashes, max_bits).tolist():
            if first_of[one] == one and first_of[other] == other and (one, other) not in reported:
                alike[other].append(one)
                reported.add((one, other))
        for number in sorted(alike):
            yield _finding(images, number, _twin(images, number, alike[number]), "look", words)


def flat_findings(scans: Scans, hashes: Mapping[str, ImageHashes]) -> Iterator[Finding]:
    """Images of nearly one grey level."""
    for split, scan in scans.items():
        for image in np.flatnonzero(hashes[split].is_flat).tolist():
            level = int(hashes[split].thumbnails[image].mean())
            detail = f"nearly one grey level all over, {level} of 255"
            yield Finding("flat-image", split, printable(scan.index.paths[image]), detail, image=image)


def turned_findings(scans: Scans, hashes: Mapping[str, ImageHashes]) -> Iterator[Finding]:
    """Images that are stored rotated or mirrored, with an EXIF orientation."""
    for split, scan in scans.items():
        for image in np.flatnonzero(hashes[split].orientations != 1).tolist():
            code = int(hashes[split].orientations[image])
            detail = f"stored {_TURNED.get(code, 'on its side')} (EXIF orientation {code})"
            yield Finding("turned-image", split, printable(scan.index.paths[image]), detail, image=image)


def _twin(images: AllImages, number: int, others: list[int]) -> int:
    """Which of the others to name: preferably one of another split, which is worse."""
    return next((other for other in others if images.positions[other][0] != images.positions[number][0]), others[0])


def _finding(images: AllImages, number: int, twin: int, what: str, words: str) -> Finding:
    (split, image), (other, _) = images.positions[number], images.positions[twin]
    kind = f"{'doubled' if split == other else 'leaked'}-{what}"
    where = "" if split == other else f" of split `{other}`"
    detail = f"{words} `{printable(images.paths[twin])}`{where}"
    return Finding(kind, split, printable(images.paths[number]), detail, image=image)
