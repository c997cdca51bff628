"""The order of a run: which images of which epoch make which batch, from any point on, for any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from onelook.data import quad
from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.even_batches import batch_bounds
from onelook.data.rectangles import Rectangles

Part = TypeVar("Part")


class EpochItem(NamedTuple):
    """One image of an epoch.

    Attributes:
        number: index of the image in the dataset; if images are drawn, index of the draw within the epoch.
        class_ap: average precisions that the draws of this epoch depend on; see `ImageWeights`.
        partners: numbers of the images that mosaics are made of; empty for all of the dataset.
    """

    epoch: int
    number: int
    class_ap: tuple[float, ...] = ()
    partners: tuple[int, ...] = ()


SampleItems = tuple[EpochItem, ...]  # what one sample shows: one image; with `quad`, up to four
LEAST_PARTNERS = 8  # in a smaller batch, too many mosaics would have the same images


@dataclass(frozen=True)
class EpochOrder:
    """All batches of a run, epoch after epoch, in an order that depends on the seed and the epoch alone.

    A batch is a list of samples, each of them one image that goes through the network. Every process gets its share
    of every batch; the shares of all processes, one after the other, are the batch.

    Attributes:
        num_images: number of images in the dataset; each comes once per epoch.
        batch_size: largest number of images in a batch, in all processes together, without `quad`.
        start_epoch, start_batch: the first batch that is given, counted from 0; to resume an interrupted run.
        rectangles: if given, the batches are these, and their order alone changes from epoch to epoch.
        rank, world_size: number of this process, and of all that train together; a share may be empty.
        quad: whether samples may hold several images, see `quad.py`.
        class_ap: called at the start of every epoch, for drawing its images; None if images are not drawn.
        partners_of_batch: whether mosaics are made of the images of their batch, that of all processes together; one of
            fewer than 8 images takes those of the dataset.
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
    quad: bool = False
    class_ap: Callable[[], Sequence[float]] | None = None
    partners_of_batch: bool = False

    @property
    def images_per_batch(self) -> int:
        """Most images of a batch."""
        return quad.num_images(self.batch_size) if self.quad else self.batch_size

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.num_images // self.images_per_batch)

    def __len__(self) -> int:
        return max(0, (self.epochs - self.start_epoch) * self.batches_per_epoch - self.start_batch)

    def __iter__(self) -> Iterator[list[SampleItems]]:
        for batches in self.by_epoch():
            yield from batches

    def by_epoch(self) -> Iterator[Iterable[list[SampleItems]]]:
        """The remaining batches of each epoch; an epoch is shuffled when it is requested, not before."""
        first = self.start_batch
        for epoch in range(self.start_epoch, self.epochs):
            class_ap = () if self.class_ap is None else tuple(self.class_ap())
            yield map(partial(self._share, epoch, class_ap), self._batches(epoch)[first:])
            first = 0

    def _share(self, epoch: int, class_ap: tuple[float, ...], numbers: list[int]) -> list[SampleItems]:
        """The share of this process in a batch."""
        is_pool = self.partners_of_batch and len(numbers) >= LEAST_PARTNERS
        partners = tuple(numbers) if is_pool else ()
        slots = [EpochItem(epoch, number, class_ap, partners) for number in numbers]
        samples: list[SampleItems] = quad.grouped(slots, self.batch_size) if self.quad else [(slot,) for slot in slots]
        return share_of(samples, self.rank, self.world_size)

    def _batches(self, epoch: int) -> list[list[int]]:
        """Image numbers of every batch; how many a batch has depends on its position alone, in every epoch."""
        rng = generator(SampleKey(self.seed, epoch, 0), Purpose.ORDER)
        if self.rectangles is not None:
            sizes = np.diff(self.rectangles.starts)
            order = np.arange(len(sizes))
            for size in np.unique(sizes):
                same = np.flatnonzero(sizes == size)
                order[same] = rng.permutation(same)
            return [self.rectangles.batch(number) for number in order.tolist()]
        shuffled: list[int] = rng.permutation(self.num_images).tolist()
        bounds = batch_bounds(self.num_images, self.batches_per_epoch)
        return [shuffled[first:last] for first, last in pairwise(bounds)]


def share_of(whole: Sequence[Part], rank: int, world_size: int) -> list[Part]:
    """The share of process `rank`: as near to equal as whole parts allow, in order; empty if there are too few.

    >>> [share_of("abcde", rank, 3) for rank in range(3)]
    [['a'], ['b', 'c'], ['d', 'e']]
    """
    return list(whole[rank * len(whole) // world_size : (rank + 1) * len(whole) // world_size])


def fixed_order(rectangles: Rectangles, *, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """The batches of a validation: image numbers, always the same; process `rank` takes every `world_size`-th batch."""
    return [rectangles.batch(number) for number in range(rank, len(rectangles), world_size)]
