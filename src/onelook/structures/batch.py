"""What travels from the loader to the trainer and the evaluator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def padded_length(count: int, steps: int = 4) -> int:
    """The next multiple of the power of two below `count`, divided by `steps`, itself a power of two; at least 16.

    >>> [padded_length(count) for count in (0, 16, 17, 130)]
    [16, 16, 32, 160]
    >>> [padded_length(130, steps) for steps in (1, 2)]
    [256, 192]
    """
    step = max(16, (1 << max(count.bit_length() - 1, 0)) // steps)
    return max(-(-count // step), 1) * step


@dataclass(frozen=True)
class Targets:
    """What the loss compares a batch with.

    Attributes:
        image_index: (M,) int64, the image within the batch that the box belongs to.
        class_ids: (M,) int64.
        boxes: (M, 4) float32 cxcywh, as a fraction of the batch image's width and height.
    """

    image_index: Tensor
    class_ids: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return self.image_index.shape[0]

    def padded(self) -> Targets:
        """The same with boxes without area behind them, so that batches come in few different lengths."""
        missing = padded_length(len(self)) - len(self)
        return Targets(
            functional.pad(self.image_index, (0, missing)),
            functional.pad(self.class_ids, (0, missing)),
            functional.pad(self.boxes, (0, 0, 0, missing)),
        )

    def pin_memory(self) -> Targets:
        """The same in page-locked memory."""
        return Targets(self.image_index.pin_memory(), self.class_ids.pin_memory(), self.boxes.pin_memory())

    def to(self, device: torch.device) -> Targets:
        """The same on `device`, in one copy that does not wait; image and class numbers are below 2^24."""
        if self.boxes.device == device:
            return self
        columns = (self.image_index.float()[:, None], self.class_ids.float()[:, None], self.boxes)
        packed = torch.cat(columns, dim=1)
        moved = (packed.pin_memory() if device.type == "cuda" else packed).to(device, non_blocking=True)
        return Targets(moved[:, 0].long(), moved[:, 1].long(), moved[:, 2:])


@dataclass(frozen=True)
class ImageInfo:
    """Where a batch image came from and how to get back to it: `original = (batch - pad) / gain`, per axis.

    Attributes:
        index: position in the dataset.
        path: the (first) source file.
        size_hw: height and width of the original image, pixels.
        gain_xy: pixels of the batch image per original pixel.
        pad_xy: left and top border of the batch image, pixels.
        num_images: images of the dataset in this batch image; with more than one, all else here is of the first.
        num_dropped_boxes: boxes that the user's transforms dropped, of all images in it.
        lost: for each image that could not be read and is left out, what is wrong with it.
    """

    index: int
    path: str
    size_hw: tuple[int, int]
    gain_xy: tuple[float, float] = (1.0, 1.0)
    pad_xy: tuple[float, float] = (0.0, 0.0)
    num_images: int = 1
    num_dropped_boxes: int = 0
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Images, targets and origin.

    Attributes:
        images: (B, 3, H, W) uint8 RGB, channels last in memory; divided by 255 on the device, not before.
    """

    images: Tensor
    targets: Targets
    infos: tuple[ImageInfo, ...]

    @property
    def pixels(self) -> Tensor:
        """What the memory of the batch holds, but for a few numbers."""
        return self.images

    def part(self, first: int, last: int) -> Batch:
        """The images from number `first` up to, but without, number `last`."""
        if (first, last) == (0, len(self.images)):
            return self
        targets = self.targets
        inside = (targets.image_index >= first) & (targets.image_index < last)
        boxes = Targets(targets.image_index[inside] - first, targets.class_ids[inside], targets.boxes[inside])
        return Batch(self.images[first:last], boxes, self.infos[first:last])

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, so that the copy to a GPU can overlap; called by torch's loader."""
        return Batch(self.images.pin_memory(), self.targets.pin_memory(), self.infos)
