"""Training and validation items: pixels and boxes of one batch image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from onelook.data.augment.augmentations import draw_plan
from onelook.data.augment.keys import SampleKey
from onelook.data.augment.labels import labels_of_plan, labels_of_plans
from onelook.data.augment.plan import AugmentPlan, Boxes, ClassIds, Image, Sample
from onelook.data.augment.render_cpu import ImageSource, render_plan
from onelook.data.augment.resize import put_into_frame
from onelook.data.augment.transforms import KeyedTransforms, UserTransforms
from onelook.data.image_cache import ImageFiles, OnceABatch
from onelook.data.image_weights import ImageWeights
from onelook.data.item import Item, batch_memory, collate, empty_batch, make_item
from onelook.data.quad import at_twice_the_size
from onelook.data.rectangles import Rectangles, equal_frames, own_frames
from onelook.data.sampler import EpochItem, SampleItems
from onelook.data.unreadable_images import IMAGES_PER_LOST_ONE, readable_part
from onelook.errors import DataError
from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.letterbox import fitted_size, letterbox
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Batch, ImageInfo
from onelook.structures.dataset_index import DatasetIndex

T = TypeVar("T")


@dataclass(frozen=True)
class Arrangement:
    """Which images are shown, and how they are put together.

    Attributes:
        rectangles: if given, every image is put into the frame of its batch, without mosaic.
        mosaic_epochs: epochs from the first on in which mosaics are made; None means all.
        quad: whether images have twice the size, and samples may hold several images, see `quad.py`.
        weights: if given, the images of each epoch are drawn.
    """

    rectangles: Rectangles | None = None
    mosaic_epochs: int | None = None
    quad: bool = False
    weights: ImageWeights | None = None


class TrainDataset:
    """Augmented images: a sample is a pure function of data, settings, seed and its image numbers.

    Args:
        imgsz: side of the square output, pixels.
        arrangement: which images are shown, and how they are put together; by default each alone or in mosaics.
        cache: decoded images; None reads the files each time. It must be made for the same `index` and `imgsz`.
    """

    def __init__(
        self,
        index: DatasetIndex,
        hyperparameters: Hyperparameters,
        *,
        imgsz: int,
        seed: int,
        arrangement: Arrangement | None = None,
        cache: ImageSource | None = None,
    ) -> None:
        self.index = index
        self.hyperparameters = hyperparameters
        self.imgsz = imgsz
        self.seed = seed
        self.arrangement = arrangement or Arrangement()
        self.images: ImageSource = cache if cache is not None else ImageFiles(index, imgsz)
        self.source = OnceABatch(self.images)
        named = hyperparameters.transforms
        self._transform = partial(KeyedTransforms, UserTransforms(named)) if named else None

    def __len__(self) -> int:
        return len(self.index)

    def plan(self, slot: EpochItem) -> AugmentPlan:
        """Everything random about one image of an epoch."""
        arrangement = self.arrangement
        rectangles, mosaic_epochs, weights = arrangement.rectangles, arrangement.mosaic_epochs, arrangement.weights
        return draw_plan(
            self.index,
            self.hyperparameters,
            key=SampleKey(self.seed, slot.epoch, slot.number),
            output_hw=(self.imgsz, self.imgsz) if rectangles is None else rectangles.frame_of(slot.number),
            mosaic_allowed=rectangles is None and (mosaic_epochs is None or slot.epoch < mosaic_epochs),
            drawn=None if weights is None else weights.draw(slot.epoch, slot.class_ap),
            pool=slot.partners,
            transform=self._transform,
        )

    def _samples(self, slots: Sequence[EpochItem], pixels: Image | None = None) -> list[Item]:
        """The images of one size, which are made in `pixels`, (N, H, W, 3), if given."""
        plans = [self.plan(slot) for slot in slots]
        labels = labels_of_plans(self.index, plans)
        if pixels is None:
            pixels = np.empty((len(plans), *plans[0].output_hw, 3), np.uint8)
        return [self._sample(*one) for one in zip(plans, labels, pixels, strict=True)]

    def _sample(self, plan: AugmentPlan, labels: tuple[Boxes, ClassIds], target: Image) -> Item:
        made, info, image = self.drawn(plan, lambda readable: render_plan(readable, self.index, self.source, target))
        if info.lost:
            labels = labels_of_plan(self.index, made)
        sample = Sample(image, *labels)
        for step in plan.steps:
            sample = step.apply(sample)
        if sample.image is not target:
            target[:] = sample.image
        info = replace(info, num_dropped_boxes=sample.num_dropped)
        return make_item(target, sample.boxes, sample.class_ids, info)

    def drawn(self, plan: AugmentPlan, draw: Callable[[AugmentPlan], T]) -> tuple[AugmentPlan, ImageInfo, T]:
        """A plan without images that can no longer be read, where its image comes from, and what `draw` makes of it.

        Raises:
            DataError: `draw` has raised it, in a dataset that is too small to do without an image.
        """
        lost: tuple[str, ...] = ()
        try:
            result = draw(plan)
        except DataError:
            if len(self.index) < IMAGES_PER_LOST_ONE:
                raise
            plan, lost = readable_part(plan, self.source)
            result = draw(plan)
        size_hw = self.index.size_of(plan.image)
        return plan, ImageInfo(plan.image, self.index.paths[plan.image], size_hw, lost=lost), result

    @property
    def full_hw(self) -> tuple[int, int]:
        """Height and width of an image in a batch without images, pixels."""
        side = 2 * self.imgsz if self.arrangement.quad else self.imgsz
        return side, side

    def __getitem__(self, sample: SampleItems) -> Item:
        """One sample of a batch.

        Raises:
            DataError: an image file has vanished or changed since the scan; in a dataset that is too small to do
                without it.
            SettingsError: a transform that the user has named fails.
        """
        items = self._samples(sample)
        return at_twice_the_size(items) if self.arrangement.quad else items[0]

    def batch(self, samples: Sequence[SampleItems]) -> Batch:
        """The batch of some samples."""
        if not samples:
            return empty_batch(self.full_hw)
        with self.source.remembering():
            if self.arrangement.quad:
                return collate([self[sample] for sample in samples])
            slots = [slot for (slot,) in samples]
            rectangles = self.arrangement.rectangles
            size_hw = self.full_hw if rectangles is None else rectangles.frame_of(slots[0].number)
            pixels = batch_memory((len(slots), *size_hw, 3))
            return collate(self._samples(slots, pixels.numpy()), pixels)


class ValidationDataset:
    """Images as they are, each in the smallest frame that holds it; a batch has images of one frame.

    Args:
        imgsz: longer side of the images, pixels.
        batch_size: largest number of images in a batch.
        stride: frames are multiples of this, pixels.
        frame_hw: height and width of all frames, pixels.
        pad: strides added to a frame before rounding up.
        cache: decoded images; None reads the files each time. It must be made for the same `index` and `imgsz`.
    """

    def __init__(
        self,
        index: DatasetIndex,
        *,
        imgsz: int,
        batch_size: int,
        stride: int = 32,
        frame_hw: tuple[int, int] | None = None,
        pad: float = 0.5,
        cache: ImageSource | None = None,
    ) -> None:
        self.index = index
        self.imgsz = imgsz
        self.rectangles = (
            own_frames(index.sizes_hw, imgsz=imgsz, batch_size=batch_size, stride=stride, pad=pad)
            if frame_hw is None
            else equal_frames(len(index), frame_hw=frame_hw, batch_size=batch_size)
        )
        self.images: ImageSource = cache if cache is not None else ImageFiles(index, imgsz)

    def __len__(self) -> int:
        return len(self.index)

    def sample(self, number: int, target: Image | None = None) -> Item:
        """Image `number` in its frame; that is `target`, (H, W, 3), if given.

        Raises:
            DataError: the image file has vanished or changed since the scan.
        """
        size_hw = self.index.size_of(number)
        content_hw = fitted_size(size_hw, self.imgsz)
        fitted = letterbox(content_hw, self.rectangles.frame_of(number), upscale=False)
        image = put_into_frame(self.images.image(number), fitted, target)
        gain = np.array(fitted.content_hw[::-1], np.float64)
        rows = self.index.labels_of(number)
        corners = cxcywh_to_xyxy(self.index.boxes[rows].astype(np.float64)).clip(0, 1)
        boxes = corners * np.tile(gain, 2) + np.tile(fitted.origin_xy, 2)
        info = ImageInfo(
            index=number,
            path=self.index.paths[number],
            size_hw=size_hw,
            gain_xy=(fitted.content_hw[1] / size_hw[1], fitted.content_hw[0] / size_hw[0]),
            pad_xy=(float(fitted.origin_xy[0]), float(fitted.origin_xy[1])),
        )
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return make_item(image, boxes[has_area], self.index.class_ids[rows][has_area], info)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Some images of one frame."""
        if not numbers:
            return empty_batch((self.imgsz, self.imgsz))
        pixels = batch_memory((len(numbers), *self.rectangles.frame_of(numbers[0]), 3))
        return collate([self.sample(*one) for one in zip(numbers, pixels.numpy(), strict=True)], pixels)
