"""Continues without a few images that have vanished or changed since the scan: counted, named, and up to a limit.

A long run should not die of one file in a hundred thousand, and should not continue with half of them gone.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from onelook.data.augment.plan import AugmentPlan, Tile
from onelook.data.augment.render_cpu import ImageSource
from onelook.errors import DataError
from onelook.structures.batch import Batch

logger = logging.getLogger(__name__)

IMAGES_PER_LOST_ONE = 1000  # a dataset may lose one image in so many


def readable_part(plan: AugmentPlan, source: ImageSource) -> tuple[AugmentPlan, tuple[str, ...]]:
    """The plan without the tiles whose images cannot be read, which stay grey; and what is wrong with each of those."""
    lost: list[str] = []

    def readable(tiles: tuple[Tile, ...]) -> tuple[Tile, ...]:
        kept = []
        for tile in tiles:
            try:
                source.image(tile.source)
            except DataError as problem:
                lost.append(problem.message)
            else:
                kept.append(tile)
        return tuple(kept)

    return replace(plan, tiles=readable(plan.tiles), partner=readable(plan.partner)), tuple(lost)


def within_limit(batches: Generator[Batch, None, None], *, num_images: int) -> Generator[Batch, None, None]:
    """The batches, with a warning for each image that was left out, as long as these are few.

    Raises:
        DataError: more than one image in a thousand cannot be read.
    """
    lost: set[str] = set()
    with closing(batches):
        for batch in batches:
            for problem in (problem for info in batch.infos for problem in info.lost):
                if problem in lost:
                    continue
                lost.add(problem)
                if len(lost) > num_images // IMAGES_PER_LOST_ONE:
                    raise DataError(
                        f"{problem}; {len(lost)} of {num_images} images could be read when the dataset was scanned, "
                        "and now cannot",
                        hint="restore them and resume; or scan again, with a new run",
                    )
                logger.warning("%s; the run continues without it and is no longer reproducible", problem)
            yield batch
