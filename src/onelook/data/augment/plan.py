"""What an `AugmentPlan` is made of: everything random about one training image, before any pixel is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from onelook.geometry.affine import Matrix
from onelook.structures.dataset_index import DatasetIndex

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float64]
ClassIds = npt.NDArray[np.int64]


class Sample(NamedTuple):
    """A training image that is put together, and its labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float64 xyxy, pixels, inside the image.
        class_ids: (N,) int64.
        num_dropped: boxes that steps have taken away.
    """

    image: Image
    boxes: Boxes
    class_ids: ClassIds
    num_dropped: int = 0


class Step(Protocol):
    """What an augmentation has drawn for an image that is put together."""

    def apply(self, sample: Sample) -> Sample:
        """The sample after it, of the same size; the image that is given may be written to."""


@runtime_checkable
class DeviceStep(Step, Protocol):
    """A step that a device can do to the images of a batch; without this, the loader makes the pixels."""

    @classmethod
    def packed(cls, steps: Sequence[Any]) -> tuple[Tensor, ...]:
        """What a device needs of B images, tensors (B, ...); of each image its step of this class, or None."""

    @classmethod
    def apply_on_device(cls, images: Tensor, *packed: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 images after it; they depend on their own rows of `packed` only."""


class TileLabels(NamedTuple):
    """The labels of an image before it is put into its place; of several, one after the other.

    Attributes:
        boxes: (L, 4) float64 xyxy, as a fraction of the image.
        class_ids: (L,) int64.
        num_points: (L,) int64 points of the polygon of each label; 0 for a plain box.
        points: (P, 2) float64 x, y of all polygons, as a fraction of the image.
    """

    boxes: Boxes
    class_ids: ClassIds
    num_points: npt.NDArray[np.int64]
    points: npt.NDArray[np.float64]


class TileChange(Protocol):
    """What an augmentation has drawn for an image of the dataset before it is put into its place."""

    def pixels(self, image: Image, index: DatasetIndex) -> Image:
        """The image (H, W, 3) after it, of the same size; `image` is not written to."""

    def labels(self, labels: TileLabels, index: DatasetIndex) -> TileLabels:
        """Its labels after it."""


@dataclass(frozen=True)
class Tile:
    """One source image and its position in the output.

    Attributes:
        matrix: (3, 3) float64 from fractions of the image (0, 0) to (1, 1) to output pixels, everything composed.
        window: left, top, right, bottom of the part that may be seen, as fractions of the image: what lies on the
            canvas.
        extent_wh: width and height of the whole image in output pixels, before rotation, shear and perspective.
        changes: changes to the image before that.
    """

    source: int
    matrix: Matrix
    window: tuple[float, float, float, float]
    extent_wh: tuple[float, float]
    changes: tuple[TileChange, ...] = ()


@dataclass(frozen=True)
class AugmentPlan:
    """How to make one training image.

    Attributes:
        image: number in the dataset of the image that this is about; the others of a mosaic are its partners.
        output_hw: height and width, pixels.
        tiles: one image, or the four or nine of a mosaic; they do not overlap.
        partner: the tiles of a second mosaic that is blended in; empty if there is none.
        partner_ratio: weight of the first mosaic in the blend.
        steps: steps applied to the result, in this order.
    """

    image: int
    output_hw: tuple[int, int]
    tiles: tuple[Tile, ...]
    partner: tuple[Tile, ...] = ()
    partner_ratio: float = 1.0
    steps: tuple[Step, ...] = ()
