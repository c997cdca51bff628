"""Learning rate, momentum and accumulation as a pure function of the step: nothing to save, nothing to restore.

A step is one batch; an update is one change of the weights, made of one or more steps of the same epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from onelook.data import quad
from onelook.data.even_batches import batch_start
from onelook.settings.train import TrainSettings

NOMINAL_BATCH = 64
MIN_UPDATES = 2000
MAX_WARMUP_FRACTION = 0.1


@dataclass(frozen=True)
class StepPlan:
    """Learning rates and update of one step.

    Attributes:
        lr_bias, lr: learning rate of the biases, and of all other parameters.
        is_update: whether the weights are updated after this step.
        loss_scale: factor on the loss of this step's batch, which is a sum over its images.
    """

    lr_bias: float
    lr: float
    momentum: float
    is_update: bool
    loss_scale: float


def decay_factor(progress: float, lrf: float, *, cosine: bool) -> float:
    """Learning rate as a fraction of lr0 after the share `progress` (0 to 1) of the run; ends at `lrf`.

    >>> [round(decay_factor(epoch / 10, 0.01, cosine=False), 3) for epoch in range(4)]
    [1.0, 0.901, 0.802, 0.703]
    """
    if cosine:
        return (1 - math.cos(math.pi * progress)) / 2 * (lrf - 1) + 1
    return (1 - progress) * (1 - lrf) + lrf


def nominal_batch(settings: TrainSettings, num_images: int) -> int:
    """Images per update: 64, but fewer where the run would then have under 2000 updates; never below one batch.

    The setting `nominal_batch` is taken as it is, if it is above 0.
    """
    if settings.nominal_batch > 0:
        return max(settings.nominal_batch, _images_per_batch(settings))
    batch = min(_images_per_batch(settings), num_images)
    batches = settings.epochs * math.ceil(num_images / batch)
    affordable = max(batches // MIN_UPDATES, 1)
    accumulate = min(max(round(NOMINAL_BATCH / batch), 1), affordable)
    return batch * accumulate


def at_length(settings: TrainSettings, length_changes: Sequence[Sequence[int]]) -> TrainSettings:
    """The settings of a run with its number of epochs after `length_changes`, see `Schedule`."""
    return settings.model_copy(update={"epochs": length_changes[-1][1]}) if length_changes else settings


@dataclass(frozen=True)
class Schedule:
    """The plan of a whole run.

    Args:
        begun_with: learning rate, warm-up, momentum, epochs and batch size.
        length_changes: (epoch, epochs of the run from then on) for each change of its length.
    """

    begun_with: TrainSettings
    num_images: int
    length_changes: Sequence[Sequence[int]] = ()

    @cached_property
    def settings(self) -> TrainSettings:
        """Those of the run, with the number of epochs that it has now."""
        return at_length(self.begun_with, self.length_changes)

    @cached_property
    def batch_size(self) -> int:
        """Most images of a batch; a small dataset makes it smaller than the setting, and so does `quad`."""
        return min(_images_per_batch(self.settings), self.num_images)

    @cached_property
    def batches_per_epoch(self) -> int:
        """Steps in one pass over the images."""
        return math.ceil(self.num_images / self.batch_size)

    def samples_in(self, batch: int) -> int:
        """Images that go through the network in batch number `batch` of an epoch, in all processes together."""
        images = self.images_in(batch)
        return quad.num_samples(images, self.settings.batch_size) if self.settings.quad else images

    def images_in(self, batch: int) -> int:
        """Images of the dataset that batch number `batch` of an epoch shows, in all processes together."""
        start, end = (batch_start(number, self.num_images, self.batches_per_epoch) for number in (batch, batch + 1))
        return end - start

    @cached_property
    def accumulate(self) -> int:
        """Most steps per update after the warm-up."""
        return max(round(nominal_batch(self.settings, self.num_images) / self.batch_size), 1)

    @cached_property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.settings.epochs * self.batches_per_epoch

    @cached_property
    def warmup_steps(self) -> int:
        """Steps of the warm-up: the epochs asked for, but at most a tenth of the run."""
        asked = round(self.settings.warmup_epochs * self.batches_per_epoch)
        return min(asked, int(self.total_steps * MAX_WARMUP_FRACTION))

    @cached_property
    def total_updates(self) -> int:
        """Updates of the whole run, those of the warm-up counted as if they were not more frequent."""
        return self.settings.epochs * math.ceil(self.batches_per_epoch / self.accumulate)

    @cached_property
    def weight_decay(self) -> float:
        """Weight decay of one update, scaled like its gradient."""
        return self.settings.weight_decay * self.update_strength / NOMINAL_BATCH

    @cached_property
    def update_strength(self) -> int:
        """How many images the gradient of an update stands for: those it has, but at least 64.

        The loss is a sum over images. Without this, an update of 16 images would be a quarter as strong as one of 64.
        """
        return max(self.batch_size * self.accumulate, NOMINAL_BATCH)

    def at(self, step: int) -> StepPlan:
        """The plan of step number `step`, from 0."""
        settings = self.settings
        factor = decay_factor(self.share_done(step), settings.lrf, cosine=settings.cos_lr)
        lr_bias = lr = settings.lr0 * factor
        momentum = settings.momentum
        if step < self.warmup_steps:
            share = step / self.warmup_steps
            lr_bias = _between(settings.warmup_bias_lr, lr, share)
            lr = _between(0.0, lr, share)
            momentum = _between(settings.warmup_momentum, settings.momentum, share)
        epoch, batch = divmod(step, self.batches_per_epoch)
        return StepPlan(lr_bias, lr, momentum, *self._plan_of(epoch)[batch])

    def share_done(self, step: int, *, end: int = 0) -> float:
        """Share of the run that is done before step number `step`.

        A change of the run's length leaves the shares of earlier steps as they are, and the later ones grow faster or
        slower.

        Args:
            step: number of the step, from 0.
            end: number of steps before the end at which the share is 1.
        """
        share, begun, epochs = 0.0, 0, self.begun_with.epochs
        for epoch, epochs_then in self.length_changes:
            changed = epoch * self.batches_per_epoch
            if step < changed:
                break
            share += (1 - share) * (changed - begun) / max(epochs * self.batches_per_epoch - end - begun, 1)
            begun, epochs = changed, epochs_then
        return share + (1 - share) * (step - begun) / max(epochs * self.batches_per_epoch - end - begun, 1)

    @property
    def early_share(self) -> float:
        """Share of the run that the first 2000 updates take up; 1 for a short run."""
        return min(MIN_UPDATES / self.total_updates, 1)

    @cached_property
    def closing_share(self) -> float:
        """Share of the run after which mosaic is closed."""
        return self.share_done(self.settings.mosaic_epochs * self.batches_per_epoch)

    @cached_property
    def _plan_of(self) -> Callable[[int], list[tuple[bool, float]]]:
        """`_plan_epoch`, which remembers the epoch under way."""
        return lru_cache(maxsize=1)(self._plan_epoch)

    def _plan_epoch(self, epoch: int) -> list[tuple[bool, float]]:
        """For every batch of `epoch`: does an update follow, and the factor on its loss; the last one has an update."""
        plan: list[tuple[bool, float]] = []
        while left := self.batches_per_epoch - len(plan):
            most = self._accumulate_at(epoch * self.batches_per_epoch + len(plan))
            batches = math.ceil(left / math.ceil(left / most))  # so that no update has many fewer than the others
            scale = self.update_strength / sum(self.samples_in(len(plan) + batch) for batch in range(batches))
            plan += [(False, scale)] * (batches - 1) + [(True, scale)]
        return plan

    def _accumulate_at(self, step: int) -> int:
        if step >= self.warmup_steps:
            return self.accumulate
        return max(round(_between(1, self.accumulate, step / self.warmup_steps)), 1)


def _images_per_batch(settings: TrainSettings) -> int:
    return quad.num_images(settings.batch_size) if settings.quad else settings.batch_size


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
