"""Measures anchors: how well those of a model suit the labels of a dataset, and which would suit better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onelook.data.scan.rules import ScanOptions
from onelook.data.splits import read_splits
from onelook.errors import DataError, ModelError
from onelook.files.overwriting import make_folder, refuse_to_replace
from onelook.models.detector import DetectionModel, create_model
from onelook.processes.stop_signal import StopSignal
from onelook.reports.plots.anchors import plot_anchors
from onelook.settings.anchors import AnchorSettings
from onelook.settings.build import build_settings
from onelook.training.autoanchor import (
    GOOD_RECALL,
    LEAST_SIDE_PX,
    SMALL_SIDE_PX,
    AnchorFit,
    Array,
    in_order_of_strides,
    label_sizes_px,
    measure_anchors,
    search_anchors,
    searchable,
)
from onelook.training.weights import DEFAULT_MODEL, load_detector

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class AnchorStudy:
    """What a measurement of anchors gives.

    Attributes:
        model: whose anchors were measured.
        are_placeholders: the model says only how many anchors it has; training looks for others in any case.
        strides: (L,) pixels per cell of each output map.
        sizes_px: (M, 2) width, height of the training labels at the training size.
        current: the anchors of the model and how well they suit the labels.
        found: the new anchors, rounded to a tenth of a pixel, and how well they suit the labels.
        images: files of the split, which no plot may replace.
    """

    settings: AnchorSettings
    model: str
    are_placeholders: bool
    strides: tuple[int, ...]
    sizes_px: Array
    current: AnchorFit
    found: AnchorFit
    images: Sequence[str] = ()

    @property
    def num_small(self) -> int:
        """Labels with a side below 3 pixels."""
        return int((self.sizes_px < SMALL_SIDE_PX).any(axis=1).sum())

    @property
    def would_be_replaced(self) -> bool:
        """Whether training would look for other anchors."""
        return self.are_placeholders or self.current.best_possible_recall <= GOOD_RECALL

    def yaml_lines(self) -> str:
        """The new anchors as lines of a model definition."""
        maps = self.found.anchors_px.reshape(len(self.strides), -1).tolist()
        rows = [f"  - [{', '.join(f'{side:g}' for side in row)}]" for row in maps]
        return "\n".join(["anchors:  # pixels: width, height, width, height, ...", *rows])


def study_anchors(given: Mapping[str, Any], *, file: Path | None = None) -> AnchorStudy:
    """Measure the anchors of a model on the training labels, and look for better ones. Nothing is written.

    Raises:
        OnelookError: a setting, the data or the model cannot be used.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1.
    """
    with StopSignal() as stop:
        settings = build_settings(AnchorSettings, given, file=file)
        splits = read_splits(settings.data, ("train",), options=ScanOptions(allow_unlabelled=True), stop=stop)
        model, label = _model(settings, len(splits.names))
        sizes_px = label_sizes_px(splits.scans["train"].index, settings.imgsz)
        current, found = _measured(model, sizes_px, settings, stop)
        stop.check()
    are_placeholders = isinstance(model.definition["anchors"], int)
    return AnchorStudy(
        settings, label, are_placeholders, model.stride_px, sizes_px, current, found, splits.scans["train"].index.paths
    )


def draw_study(study: AnchorStudy) -> Path:
    """Write the image of a study, labels and both sets of anchors, to the `output` of its settings; its path.

    Raises:
        RunFolderError: it cannot be written.
    """
    settings, path = study.settings, study.settings.output
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        path /= f"{settings.data.stem}-{settings.imgsz}.png"
    texts = [str(given) for given in (settings.data, settings.weights, settings.cfg) if given]
    refuse_to_replace(path, [*texts, *study.images])
    make_folder(path.parent, option="--output")
    fits = {f"Anchors of {study.model}": study.current, "New anchors": study.found}
    return plot_anchors(study.sizes_px, fits, study.strides, path, anchor_t=settings.anchor_t, imgsz=settings.imgsz)


def _model(settings: AnchorSettings, num_classes: int) -> tuple[DetectionModel, str]:
    if settings.weights:
        return load_detector(Path(settings.weights)), Path(settings.weights).name
    name = settings.cfg or DEFAULT_MODEL
    return create_model(name, num_classes=num_classes), Path(name).stem


def _measured(
    model: DetectionModel, sizes_px: Array, settings: AnchorSettings, stop: StopSignal
) -> tuple[AnchorFit, AnchorFit]:
    """The anchors of the model and the new ones, measured on the labels."""
    usable = searchable(sizes_px)
    if len(usable) == 0:
        raise DataError(
            f"no label of the {len(sizes_px)} in split `train` of `{settings.data}` is {LEAST_SIDE_PX:g} pixels wide "
            f"or high in images of {settings.imgsz} pixels",
            hint="label objects, or try a larger `--imgsz`",
        )
    grid = model.anchor_grid
    if grid is None:
        raise ModelError("this model has no anchors that could be measured", hint="choose another with `--cfg`")
    current = grid.anchors.double().numpy()
    search = search_anchors(
        usable,
        len(current) * (settings.num or current.shape[1]),
        anchor_t=settings.anchor_t,
        seed=settings.seed,
        stop_requested=stop,
    )
    found = np.round(in_order_of_strides(search, model.strides).double().numpy(), 1)
    return (
        measure_anchors(sizes_px, current, anchor_t=settings.anchor_t),
        measure_anchors(sizes_px, found, anchor_t=settings.anchor_t),
    )
