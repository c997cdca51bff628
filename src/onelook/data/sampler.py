"""The order of a run: which images of which epoch make which batch, from any point on, for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.rectangles import Rectangles

EpochAndImage = tuple[int, int]
Place = tuple[EpochAndImage, ...]
Part = TypeVar("Part")


@dataclass(frozen=True)
class EpochOrder:
    """All batches of a run, epoch after epoch, in an order that depends on the seed and the epoch alone.

    A batch is a list of places, each of them one picture that goes through the network. Every process gets its share
    of every batch; the shares of all processes, one after the other, are the batch.

    Attributes:
        seed: of the run.
        num_images: in the data set; each comes once per epoch.
        batch_size: images per batch, in all processes together; the last batch of an epoch may have fewer.
        epochs: length of the run.
        start_epoch, start_batch: the first batch that is given, counted from 0; to go on with an interrupted run.
        rectangles: if given, the batches are these, and only the order of the full ones changes from epoch to epoch.
        rank, world_size: number of this process, and of all that train together; a share may be empty.
    """

    seed: int
    num_images: int
    batch_size: int
    epochs: int
    start_epoch: int = 0
    start_batch: int = 0
    rectangles: Rectangles | None = None
    rank: int = 0
    world_size: int = 1

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.num_images // self.batch_size)

    def __len__(self) -> int:
        return max(0, (self.epochs - self.start_epoch) * self.batches_per_epoch - self.start_batch)

    def __iter__(self) -> Iterator[list[Place]]:
        first = self.start_batch
        for epoch in range(self.start_epoch, self.epochs):
            for images in self._batches(epoch)[first:]:
                places: list[Place] = [((epoch, image),) for image in images]
                yield share_of(places, self.rank, self.world_size)
            first = 0

    def _batches(self, epoch: int) -> list[list[int]]:
        """Image numbers of every batch; the batch that may have fewer is the last, so sizes never change places."""
        rng = generator(SampleKey(self.seed, epoch, 0), Purpose.ORDER)
        if self.rectangles is not None:
            num_full = self.num_images // self.rectangles.batch_size
            order = [*rng.permutation(num_full).tolist(), *range(num_full, len(self.rectangles))]
            return [self.rectangles.batch(number) for number in order]
        shuffled: list[int] = rng.permutation(self.num_images).tolist()
        return [shuffled[start : start + self.batch_size] for start in range(0, self.num_images, self.batch_size)]


def share_of(whole: Sequence[Part], rank: int, world_size: int) -> list[Part]:
    """The share of process `rank`: as near to equal as whole parts allow, in order; empty if there are too few.

    >>> [share_of("abcde", rank, 3) for rank in range(3)]
    [['a'], ['b', 'c'], ['d', 'e']]
    """
    return list(whole[rank * len(whole) // world_size : (rank + 1) * len(whole) // world_size])


def fixed_order(rectangles: Rectangles, *, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """The batches of a validation: image numbers, always the same; process `rank` takes every `world_size`-th batch."""
    return [rectangles.batch(number) for number in range(rank, len(rectangles), world_size)]
