"""Training batches whose pixels are still to be made: loader processes send plans, labels and pieces of the images."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from onelook.data.augment.augmentations import AUGMENTATIONS
from onelook.data.augment.labels import labels_of_plans
from onelook.data.augment.plan import AugmentPlan, DeviceStep, Image
from onelook.data.augment.render_gpu import Drawing, Layer, Render, render
from onelook.data.augment.tile_tables import NUM_FIELDS, Field, Kind, PixelLocations, SentPixels, TileTable, layers_of
from onelook.data.dataset import TrainDataset
from onelook.data.item import batch_memory, collate_targets, empty_batch, normalised
from onelook.data.sampler import EpochItem, SampleItems
from onelook.structures.batch import Batch, ImageInfo, Targets


@dataclass(frozen=True)
class PlannedBatch:
    """A batch that a device has to render, and (P, 3) uint8 `pixels` of all its sources, if the device lacks them."""

    drawing: Drawing
    pixels: Tensor
    targets: Targets
    infos: tuple[ImageInfo, ...]

    def pin_memory(self) -> PlannedBatch:
        """The same in page-locked memory, so that the copy to a GPU can overlap; called by torch's loader."""
        drawing = self.drawing.map(Tensor.pin_memory)
        return PlannedBatch(drawing, self.pixels.pin_memory(), self.targets.pin_memory(), self.infos)

    def rendered(self, device: torch.device, kept: Tensor | None = None, draw: Render = render) -> Batch:
        """The batch with its images, which `draw` makes on `device`, which has the pixels if they are `kept` there."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        pixels = moved(self.pixels) if kept is None else kept
        return Batch(draw(self.drawing.map(moved), pixels), self.targets, self.infos)


class _Planned(NamedTuple):
    """One image of a batch."""

    plan: AugmentPlan
    info: ImageInfo
    layers: list[TileTable]
    parts: list[Image]


class PlannedDataset:
    """Batches of a dataset as plans.

    Args:
        dataset: one image per sample, and no transforms of users, which need pixels.
        kept: where the images lie if the device has them; without, what is seen of them is sent along.
    """

    def __init__(self, dataset: TrainDataset, kept: PixelLocations | None = None) -> None:
        self._dataset = dataset
        self._kept = kept

    def __len__(self) -> int:
        return len(self._dataset)

    def batch(self, samples: Sequence[SampleItems]) -> PlannedBatch | Batch:
        """The batch of some samples; DataError: as from `TrainDataset`."""
        if not samples:
            return empty_batch(self._dataset.full_hw)
        with self._dataset.source.remembering():
            return self._collate([self._planned(slot) for (slot,) in samples])

    def _planned(self, slot: EpochItem) -> _Planned:
        def sent(plan: AugmentPlan) -> tuple[list[TileTable], list[Image]]:
            if self._kept is not None:
                return layers_of(plan, self._kept), []
            pixels = SentPixels(self._dataset.index, self._dataset.source)
            return layers_of(plan, pixels), pixels.parts

        plan, info, (layers, parts) = self._dataset.drawn(self._dataset.plan(slot), sent)
        return _Planned(plan, info, layers, parts)

    def _collate(self, items: Sequence[_Planned]) -> PlannedBatch:
        plans = [item.plan for item in items]
        sizes = [sum(part.shape[0] * part.shape[1] for part in item.parts) for item in items]
        for item, start in zip(items, np.cumsum([0, *sizes[:-1]]), strict=True):
            for layer in item.layers:
                layer.fields[..., Field.START] += start
        pixels = batch_memory((sum(sizes), 3))
        _copy_into(pixels.numpy(), [part for item in items for part in item.parts])
        labels = labels_of_plans(self._dataset.index, plans)
        return PlannedBatch(
            drawing=_drawing(plans, [item.layers for item in items]),
            pixels=pixels,
            targets=collate_targets(
                [normalised(boxes, plan.output_hw) for (boxes, _), plan in zip(labels, plans, strict=True)],
                [torch.from_numpy(class_ids) for _, class_ids in labels],
            ),
            infos=tuple(item.info for item in items),
        )


def rendered(
    batches: Generator[PlannedBatch | Batch, None, None],
    device: torch.device,
    kept: Tensor | None = None,
    draw: Render = render,
) -> Generator[Batch, None, None]:
    """The batches with their images, on `device`; `batches` are closed with it. See `PlannedBatch.rendered`."""
    with closing(batches):
        for batch in batches:
            yield batch.rendered(device, kept, draw) if isinstance(batch, PlannedBatch) else batch


def _copy_into(pixels: Image, parts: Sequence[Image]) -> None:
    end = 0
    for part in parts:
        start, end = end, end + part.shape[0] * part.shape[1]
        pixels[start:end].reshape(part.shape)[:] = part


def _drawing(plans: Sequence[AugmentPlan], layers: Sequence[Sequence[TileTable]]) -> Drawing:
    height, width = plans[0].output_hw
    numbers = range(max(len(own) for own in layers))
    return Drawing(
        layers=tuple(_layer([own[n] if n < len(own) else None for own in layers], height) for n in numbers),
        ratios=torch.tensor([plan.partner_ratio for plan in plans]),
        steps=tuple(_steps(plans)),
        width=width,
    )


def _layer(tables: Sequence[TileTable | None], height: int) -> Layer:
    """A layer of several images, of height `height` pixels; what an image has not is absent."""
    most = max(len(table.fields) for table in tables if table is not None)
    fields = np.zeros((len(tables), most, NUM_FIELDS))
    spans = np.zeros((len(tables), most, 2, height), np.int16)
    for number, table in enumerate(tables):
        if table is not None:
            fields[number, : len(table.fields)], spans[number, : len(table.spans)] = table
    kinds = fields[..., Field.KIND]
    images_of = {
        kind: tuple(np.flatnonzero((kinds == kind).any(axis=1)).tolist()) for kind in (Kind.RESIZED, Kind.WARPED)
    }
    return Layer(torch.from_numpy(fields), torch.from_numpy(spans), images_of)


def _steps(plans: Sequence[AugmentPlan]) -> Iterator[tuple[type[DeviceStep], tuple[Tensor, ...]]]:
    """What is done to the images of these plans, one kind of step after the other."""
    for kind in [augmentation.step for augmentation in AUGMENTATIONS.values()]:
        if kind is not None and issubclass(kind, DeviceStep):
            steps = [next((step for step in plan.steps if isinstance(step, kind)), None) for plan in plans]
            if any(steps):
                yield kind, kind.packed(steps)
