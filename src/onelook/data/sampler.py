"""The order of a run: which image of which epoch is in which batch, from any point on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.rectangles import Rectangles

EpochAndImage = tuple[int, int]


@dataclass(frozen=True)
class EpochOrder:
    """All batches of a run, epoch after epoch, in an order that depends on the seed and the epoch alone.

    Attributes:
        seed: of the run.
        num_images: in the data set; each comes once per epoch.
        batch_size: images per batch; the last batch of an epoch may have fewer.
        epochs: length of the run.
        start_epoch, start_batch: the first batch that is given, counted from 0; to go on with an interrupted run.
        rectangles: if given, the batches are these, and only their order changes from epoch to epoch.
    """

    seed: int
    num_images: int
    batch_size: int
    epochs: int
    start_epoch: int = 0
    start_batch: int = 0
    rectangles: Rectangles | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.num_images // self.batch_size)

    def __len__(self) -> int:
        return max(0, (self.epochs - self.start_epoch) * self.batches_per_epoch - self.start_batch)

    def __iter__(self) -> Iterator[list[EpochAndImage]]:
        first = self.start_batch
        for epoch in range(self.start_epoch, self.epochs):
            for images in self._batches(epoch)[first:]:
                yield [(epoch, image) for image in images]
            first = 0

    def _batches(self, epoch: int) -> list[list[int]]:
        rng = generator(SampleKey(self.seed, epoch, 0), Purpose.ORDER)
        if self.rectangles is not None:
            order = rng.permutation(len(self.rectangles)).tolist()
            return [self.rectangles.batch(number) for number in order]
        shuffled: list[int] = rng.permutation(self.num_images).tolist()
        return [shuffled[start : start + self.batch_size] for start in range(0, self.num_images, self.batch_size)]


def fixed_order(rectangles: Rectangles) -> list[list[int]]:
    """The batches of a validation: image numbers, always the same."""
    return [rectangles.batch(number) for number in range(len(rectangles))]
