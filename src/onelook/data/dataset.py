"""Training and validation items: pixels and boxes of one batch image, and how items become a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onelook.data.augment.keys import SampleKey
from onelook.data.augment.labels import labels_of_plan
from onelook.data.augment.letterboxed import put_into_frame
from onelook.data.augment.plan import AugmentPlan, draw_plan
from onelook.data.augment.render_cpu import ImageSource, render_plan
from onelook.data.image_cache import ImageFiles
from onelook.data.rectangles import Rectangles, equal_squares, similar_shapes
from onelook.data.sampler import Place
from onelook.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from onelook.geometry.letterbox import fitted_size, letterbox
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Batch, ImageInfo, Targets
from onelook.structures.dataset_index import DatasetIndex


class Item(NamedTuple):
    """One image of a batch.

    Attributes:
        image: (3, H, W) uint8 RGB, contiguous.
        boxes_cxcywh_norm: (N, 4) float32, as a fraction of the width and height of `image`; inside it, not empty.
        class_ids: (N,) int64.
        info: where it came from.
    """

    image: Tensor
    boxes_cxcywh_norm: Tensor
    class_ids: Tensor
    info: ImageInfo


class TrainDataset:
    """Augmented images: the item of a place is a pure function of data, settings, seed and the numbers of the place.

    Args:
        index: images and labels.
        hyperparameters: what augmentation does.
        imgsz: side of the square output, pixels.
        seed: of the run.
        rectangles: if given, every image is put into the frame of its batch, without mosaic.
        mosaic_epochs: epochs from the first on in which mosaics are made; None means all.
        cache: decoded images; None reads the files each time. It must be made for the same `index` and `imgsz`.
    """

    def __init__(
        self,
        index: DatasetIndex,
        hyperparameters: Hyperparameters,
        *,
        imgsz: int,
        seed: int,
        rectangles: Rectangles | None = None,
        mosaic_epochs: int | None = None,
        cache: ImageSource | None = None,
    ) -> None:
        self.index = index
        self.hyperparameters = hyperparameters
        self.mosaic_epochs = mosaic_epochs
        self.imgsz = imgsz
        self.seed = seed
        self.rectangles = rectangles
        self.images: ImageSource = cache if cache is not None else ImageFiles(index, imgsz)

    def __len__(self) -> int:
        return len(self.index)

    def plan(self, epoch: int, number: int) -> AugmentPlan:
        """Everything random about image `number` in `epoch`."""
        output_hw = (self.imgsz, self.imgsz) if self.rectangles is None else self.rectangles.frame_of(number)
        return draw_plan(
            self.index,
            self.hyperparameters,
            key=SampleKey(self.seed, epoch, number),
            output_hw=output_hw,
            mosaic_allowed=self.rectangles is None and (self.mosaic_epochs is None or epoch < self.mosaic_epochs),
        )

    def sample(self, epoch: int, number: int) -> Item:
        """Image `number` as it is shown in `epoch`.

        Raises:
            DataError: an image file has vanished or changed since the scan.
        """
        plan = self.plan(epoch, number)
        image = render_plan(plan, self.index, self.images)
        boxes, class_ids = labels_of_plan(self.index, plan)
        info = ImageInfo(number, self.index.paths[number], _size_of(self.index, number))
        return _item(image, boxes, class_ids, info)

    @property
    def full_hw(self) -> tuple[int, int]:
        """Height and width of a picture in a batch without pictures, pixels."""
        return self.imgsz, self.imgsz

    def __getitem__(self, place: Place) -> Item:
        """The picture at a place of a batch."""
        ((epoch, number),) = place
        return self.sample(epoch, number)


class ValidationDataset:
    """Images as they are, in the smallest frame that holds their batch.

    Args:
        index: images and labels.
        imgsz: longer side of the images, pixels.
        batch_size: images per batch, which share a frame.
        stride: frames are multiples of this, pixels.
        rect: with False, all frames are squares of `imgsz` pixels, so that an image looks alike in any batch.
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
        rect: bool = True,
        pad: float = 0.5,
        cache: ImageSource | None = None,
    ) -> None:
        self.index = index
        self.imgsz = imgsz
        self.rectangles = (
            similar_shapes(index.sizes_hw, imgsz=imgsz, batch_size=batch_size, stride=stride, pad=pad)
            if rect
            else equal_squares(len(index), imgsz=imgsz, batch_size=batch_size)
        )
        self.images: ImageSource = cache if cache is not None else ImageFiles(index, imgsz)

    def __len__(self) -> int:
        return len(self.index)

    def sample(self, number: int) -> Item:
        """Image `number` in its frame.

        Raises:
            DataError: the image file has vanished or changed since the scan.
        """
        size_hw = _size_of(self.index, number)
        content_hw = fitted_size(size_hw, self.imgsz)
        fitted = letterbox(content_hw, self.rectangles.frame_of(number), upscale=False)
        image = put_into_frame(self.images.image(number), fitted)
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
        return _item(image, boxes[has_area], self.index.class_ids[rows][has_area], info)

    @property
    def full_hw(self) -> tuple[int, int]:
        """Height and width of a picture in a batch without pictures, pixels."""
        return self.imgsz, self.imgsz

    def __getitem__(self, number: int) -> Item:
        return self.sample(number)


def collate(items: Sequence[Item]) -> Batch:
    """A batch of items with images of one size."""
    counts = torch.tensor([len(item.class_ids) for item in items])
    targets = Targets(
        image_index=torch.repeat_interleave(torch.arange(len(items)), counts),
        class_ids=torch.cat([item.class_ids for item in items]),
        boxes=torch.cat([item.boxes_cxcywh_norm for item in items]),
    )
    return Batch(torch.stack([item.image for item in items]), targets, tuple(item.info for item in items))


def empty_batch(size_hw: tuple[int, int]) -> Batch:
    """No pictures of a height and width in pixels: the share of a process for which a batch has too few."""
    no_number = torch.zeros(0, dtype=torch.int64)
    targets = Targets(no_number, no_number.clone(), torch.zeros(0, 4))
    return Batch(torch.zeros(0, 3, *size_hw, dtype=torch.uint8), targets, ())


def _item(
    rgb: npt.NDArray[np.uint8], boxes_xyxy: npt.NDArray[Any], class_ids: npt.NDArray[np.int64], info: ImageInfo
) -> Item:
    height, width = rgb.shape[:2]
    planes = np.empty((3, height, width), np.uint8)
    cv2.split(rgb, [planes[0], planes[1], planes[2]])
    norm = (xyxy_to_cxcywh(boxes_xyxy) / (width, height, width, height)).astype(np.float32)
    return Item(torch.from_numpy(planes), torch.from_numpy(norm), torch.from_numpy(class_ids.copy()), info)


def _size_of(index: DatasetIndex, number: int) -> tuple[int, int]:
    height, width = index.sizes_hw[number].tolist()
    return height, width
