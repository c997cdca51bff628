"""Random numbers that depend only on what they are for: no state, no order, the same in every process."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
from numpy.random.bit_generator import ISeedSequence

MAX_EPOCHS = 1 << 24
MAX_IMAGES = 1 << 32


class Purpose(IntEnum):
    """What random numbers are drawn for; each purpose has a stream of its own, so that one option moves no other."""

    ORDER = 0
    LAYOUT = 1
    GEOMETRY = 2
    FLIP = 3
    COLOUR = 4
    MIXUP = 5
    COPY_PASTE = 6
    IMAGE_WEIGHTS = 7
    MOSAIC9 = 8
    TRANSFORMS = 9


@dataclass(frozen=True)
class SampleKey:
    """One training image of a run.

    Attributes:
        seed: seed of the run, 0 to 2^63 - 1.
        epoch: 0 to 2^24 - 1.
        index: image number in the dataset, or number of the draw if images are drawn; 0 to 2^32 - 1.
    """

    seed: int
    epoch: int
    index: int


def generator(key: SampleKey, purpose: int, layer: int = 0) -> np.random.Generator:
    """The random numbers of one image for one purpose.

    Philox is a counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): streams
    with different keys are independent, whatever the keys.

    Args:
        purpose: a `Purpose`, or the number of an augmentation without one, below 16.
        layer: 0, or 1 for the second mosaic of a mix-up.

    Raises:
        ValueError: the epoch or the index does not fit its field, so that two keys could collide.
    """
    if not (0 <= key.epoch < MAX_EPOCHS and 0 <= key.index < MAX_IMAGES):
        raise ValueError(f"epoch {key.epoch} or image {key.index} is too large for a random stream of its own")
    word = key.epoch << 40 | key.index << 8 | layer << 4 | purpose
    return np.random.Generator(np.random.Philox(_PhiloxKey(key.seed, word)))  # type: ignore[arg-type]  # any ISeedSequence


class _PhiloxKey(ISeedSequence):
    """Hands `Philox` its key: if that is an argument, NumPy draws a seed from the system too, which takes longer."""

    def __init__(self, *words: int) -> None:
        self._words = np.array(words, np.uint64)

    def generate_state(self, _n_words: int, _dtype: object = np.uint64) -> npt.NDArray[np.uint64]:
        return self._words
