"""All augmentations, one file each, in the order in which they are drawn; and the plan that they draw together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from onelook.data.augment import colour, copy_paste, flip, mixup, mosaic, perspective, transforms
from onelook.data.augment.draft import Draft, ImageNumbers, Stream
from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.augment.plan import AugmentPlan, DeviceStep, Step
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.dataset_index import DatasetIndex


@dataclass(frozen=True)
class Augmentation:
    """One augmentation.

    Attributes:
        draw: adds to a draft what it decides; nothing, with its settings at 0.
        purpose: number of its stream of random numbers, below 16, which nothing else uses; see `Purpose`.
        settings: its hyperparameters; 0 or empty switches each off.
        step: the step that it adds to a plan, if any; it knows the rendering and the labels.
    """

    draw: Callable[[Draft, Stream], None]
    purpose: int
    settings: tuple[str, ...]
    step: type[Step] | None = None

    def is_on(self, hyperparameters: Hyperparameters) -> bool:
        """Whether any of its settings asks for it."""
        return any(getattr(hyperparameters, name) for name in self.settings)


AUGMENTATIONS: dict[str, Augmentation] = {
    "mosaic": Augmentation(mosaic.draw, Purpose.LAYOUT, ("mosaic", "mosaic9")),
    "mix-up": Augmentation(mixup.draw, Purpose.MIXUP, ("mixup",)),
    "copy-paste": Augmentation(copy_paste.draw, Purpose.COPY_PASTE, ("copy_paste",)),
    "perspective": Augmentation(
        perspective.draw, Purpose.GEOMETRY, ("degrees", "translate", "scale", "shear", "perspective")
    ),
    "flip": Augmentation(flip.draw, Purpose.FLIP, ("fliplr", "flipud")),
    "transforms": Augmentation(transforms.draw, Purpose.TRANSFORMS, ("transforms",), transforms.KeyedTransforms),
    "colour": Augmentation(colour.draw, Purpose.COLOUR, ("hsv_h", "hsv_s", "hsv_v"), colour.ColourChange),
}


def draw_plan(
    index: DatasetIndex,
    hyperparameters: Hyperparameters,
    *,
    key: SampleKey,
    output_hw: tuple[int, int],
    mosaic_allowed: bool = True,
    drawn: npt.NDArray[np.int64] | None = None,
    pool: tuple[int, ...] = (),
    transform: Callable[[SampleKey], Step] | None = None,
) -> AugmentPlan:
    """The plan of one training image: a pure function of its arguments.

    Args:
        output_hw: height and width of the result, pixels; square if a mosaic is allowed.
        mosaic_allowed: with False, no mosaic and no mix-up.
        drawn: (N,) image numbers that stand instead of those of the dataset; `key` then counts in here.
        pool: numbers that the other images of mosaics are drawn from; empty for all of the dataset.
        transform: gives the user's transforms for a key, if there are any.
    """
    draft = Draft(ImageNumbers(index, drawn, pool), hyperparameters, key, output_hw, mosaic_allowed, transform)
    for augmentation in AUGMENTATIONS.values():
        augmentation.draw(draft, partial(generator, key, augmentation.purpose))
    return draft.plan()


def without_device(hyperparameters: Hyperparameters) -> list[str]:
    """Names of the requested augmentations that only the loader can do."""
    return [
        name
        for name, one in AUGMENTATIONS.items()
        if one.step is not None and not issubclass(one.step, DeviceStep) and one.is_on(hyperparameters)
    ]
