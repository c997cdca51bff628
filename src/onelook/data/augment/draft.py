"""A training image while augmentations draw it one after the other; at the end it is an `AugmentPlan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from onelook.data.augment.keys import SampleKey
from onelook.data.augment.plan import AugmentPlan, Step, Tile, TileChange
from onelook.geometry.affine import Matrix, scaling, translation
from onelook.geometry.letterbox import letterbox
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex

Stream = Callable[[int], np.random.Generator]  # the random numbers of one augmentation, by canvas: 0 or 1


@dataclass(frozen=True)
class ImageNumbers:
    """What the numbers of images mean.

    Attributes:
        drawn: (N,) image numbers, if they do not mean the images of the dataset one by one.
        pool: the numbers that the other images of a mosaic are drawn from; all, if it is empty.
    """

    index: DatasetIndex
    drawn: npt.NDArray[np.int64] | None = None
    pool: tuple[int, ...] = ()

    def image(self, number: int) -> int:
        """Image number in the dataset."""
        return number if self.drawn is None else int(self.drawn[number])

    @property
    def candidates(self) -> Sequence[int]:
        """The numbers that others are drawn from."""
        return self.pool or range(len(self.index))


@dataclass(frozen=True)
class Canvas:
    """Images side by side, and how they come into the output.

    Attributes:
        size_hw: height and width, pixels.
        boxes_xywh: left, top, width, height of each image on the canvas, pixels; it may reach beyond the border.
        anchor_xy: a corner that several images share, pixels.
        to_output: (3, 3) from canvas to output pixels.
        gain: the change of size within it.
        changes: changes to each image before that; empty if there are none.
    """

    size_hw: tuple[int, int]
    sources: tuple[int, ...]
    boxes_xywh: tuple[tuple[int, int, int, int], ...]
    anchor_xy: tuple[int, int]
    to_output: Matrix = field(default_factory=lambda: np.eye(3))
    gain: float = 1.0
    changes: tuple[tuple[TileChange, ...], ...] = ()

    def tiles(self) -> tuple[Tile, ...]:
        """Its images in the output."""
        height, width = self.size_hw
        changes = self.changes or ((),) * len(self.sources)
        return tuple(
            Tile(
                source=source,
                matrix=self.to_output @ translation(x, y) @ scaling(w, h),  # from fractions of the image
                window=(max(0.0, -x / w), max(0.0, -y / h), min(1.0, (width - x) / w), min(1.0, (height - y) / h)),
                extent_wh=(w * self.gain, h * self.gain),
                changes=own,
            )
            for source, (x, y, w, h), own in zip(self.sources, self.boxes_xywh, changes, strict=True)
        )


@dataclass
class Draft:
    """The plan so far; it begins with one image, fitted into the middle.

    Attributes:
        numbers: the images that are drawn from.
        output_hw: height and width of the result, pixels; square if mosaics are allowed.
        mosaic_allowed: with False, no mosaic and no mix-up.
        transform: gives the user's transforms for a key, if there are any.
        canvases: one, or two that are blended.
        ratio: weight of the first of two canvases.
    """

    numbers: ImageNumbers
    hyperparameters: Hyperparameters
    key: SampleKey
    output_hw: tuple[int, int]
    mosaic_allowed: bool = True
    transform: Callable[[SampleKey], Step] | None = None
    canvases: list[Canvas] = field(init=False)
    ratio: float = 1.0
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        image = self.numbers.image(self.key.index)
        fitted = letterbox(self.numbers.index.size_of(image), self.output_hw)
        box = (*fitted.origin_xy, fitted.content_hw[1], fitted.content_hw[0])
        self.canvases = [Canvas(self.output_hw, (image,), (box,), fitted.origin_xy)]

    def plan(self) -> AugmentPlan:
        """All that was drawn."""
        tiles = [canvas.tiles() for canvas in self.canvases]
        return AugmentPlan(
            image=self.numbers.image(self.key.index),
            output_hw=self.output_hw,
            tiles=tiles[0],
            partner=tiles[1] if len(tiles) > 1 else (),
            partner_ratio=self.ratio,
            steps=tuple(self.steps),
        )
