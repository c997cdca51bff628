"""Images that two splits share: scores on them say nothing about new images."""

from __future__ import annotations

import logging

from onelook.data.scan.index import ScanResult
from onelook.files.bounded import printable

logger = logging.getLogger(__name__)


def warn_of_overlap(train: ScanResult, other: ScanResult) -> list[tuple[str, str]]:
    """Pairs of paths, in `other` and in `train`, whose files have the same content; warns once if there are any."""
    place = {digest.tobytes(): number for number, digest in enumerate(train.image_digests)}
    shared = [
        (path, train.index.paths[place[key]])
        for path, key in zip(other.index.paths, map(bytes, other.image_digests), strict=True)
        if key in place
    ]
    if shared:
        logger.warning(
            "%d of %d images of split `%s` are also in split `%s`, first: `%s` = `%s`; scores on them mean little",
            len(shared), len(other.index), other.ledger.split, train.ledger.split, *map(printable, shared[0]),
        )  # fmt: skip
    return shared
