"""Validation of a checkpoint on a split."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.data.dataset_copy import YAML_NAME
from onelook.data.dataset_layout import open_dataset
from onelook.data.dataset_spec import DatasetSpec, load_dataset_spec
from onelook.data.formats.yolo import label_path_of
from onelook.data.split_images import as_recorded, recorded_lists
from onelook.data.splits import Splits, read_splits_of, scan_options, write_ledgers
from onelook.exports.opening import load_runnable
from onelook.files.bounded import StrPath, printable
from onelook.inference.backend import usual_hw
from onelook.inference.ensemble import assembled
from onelook.inference.evaluator import Evaluation
from onelook.inference.validation_pass import (
    Runnable,
    ValidationPass,
    as_one,
    refuse_other_classes,
    refuse_other_sizes,
)
from onelook.processes.process_group import joined_group, reasons_given
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.validation_series import Measurement, measure_series
from onelook.reports.evaluation_files import write_coco, write_labels, write_metrics
from onelook.reports.image_gallery import write_gallery
from onelook.reports.run_plots import draw_evaluation
from onelook.runs.run_dir import RunDir
from onelook.settings.build import build_settings
from onelook.settings.head import head_for_merging
from onelook.settings.validate import ValidateSettings
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.metrics import DetectionMetrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ValidateResult:
    """What a validation gives.

    Attributes:
        metrics: the numbers; of tasks `speed` and `study`, those of the last measurement.
        evaluation: the detections and the speed of the same pass.
        run_folder: where everything is.
        measurements: for tasks `speed` and `study`: each of the weights at each size.
    """

    metrics: DetectionMetrics
    evaluation: Evaluation
    names: tuple[str, ...]
    run_folder: Path
    measurements: tuple[Measurement, ...] = ()


def validate(given: Mapping[str, Any], *, file: Path | None = None) -> ValidateResult:
    """Measure a checkpoint on a split, several as an ensemble, or each of them in a series.

    Raises:
        OnelookError: a setting, the data or the checkpoint cannot be used.
        StopRequested: Ctrl-C or SIGTERM.
    """
    settings = build_settings(ValidateSettings, given, file=file)
    with StopSignal() as stop, joined_group(stop) as group, reasons_given(group):
        is_alone = settings.is_series and not settings.augment
        head = settings.head if is_alone else head_for_merging(settings)
        models = [
            load_runnable(path, settings.device, local_rank=group.local_rank, head=head) for path in settings.weights
        ]
        if settings.imgsz is None:
            settings = settings.model_copy(update={"imgsz": max(usual_hw(models))})
        alone = models if settings.is_series else []  # as detection would run them
        series = [assembled([model], half=settings.half, augment=settings.augment) for model in alone]
        validated: list[Runnable] = [*series] or [as_one(models, settings)]
        for model in validated:
            refuse_other_sizes(model, settings)
        options = scan_options(settings)
        splits = group.first_then_others(
            lambda: read_splits_of(
                _spec(settings.data, settings.weights[0]), (settings.split,), options=options, stop=stop
            )
        )
        for model in validated:
            refuse_other_classes(model, splits, settings)
        passes = ValidationPass(settings, splits, group, stop)
        run = RunDir(Path(group.first(lambda: str(_new_run(settings, passes.index).path))))
        if series:
            measurements, evaluation = measure_series(passes, series, run)
        else:
            measurements, evaluation = (), passes.run(validated[0], imgsz=settings.sizes[0])
    if group.is_first:
        _write(run, passes.index, evaluation, splits, settings)
    return ValidateResult(evaluation.metrics, evaluation, splits.names, run.path, measurements)


def _new_run(settings: ValidateSettings, index: DatasetIndex) -> RunDir:
    inputs: list[StrPath] = [*settings.weights, settings.data, *index.paths, *map(label_path_of, index.paths)]
    return RunDir.create(settings.project, settings.name, exist_ok=settings.exist_ok, inputs=inputs)


def _spec(data: Path, weights: Path) -> DatasetSpec:
    """The dataset of a validation; one without splits is split as the run has recorded that made the weights."""
    spec = open_dataset(data)
    folder = RunDir(weights.parent.parent).split_lists
    if not spec.is_unsplit or not (folder / YAML_NAME).is_file():
        return spec
    of_run = load_dataset_spec(folder / YAML_NAME)
    if set(of_run.annotations.values()) != set(spec.annotations.values()):
        return spec
    logger.info("`%s` is split as the run has recorded in `%s`", printable(spec.path), printable(folder))
    return as_recorded(spec, recorded_lists(folder))


def _write(
    run: RunDir, index: DatasetIndex, evaluation: Evaluation, splits: Splits, settings: ValidateSettings
) -> None:
    write_ledgers(splits, run.ledger)
    if settings.is_series:
        return
    write_metrics(evaluation, splits.names, run)
    if settings.save_txt or settings.save_hybrid:
        write_labels(index, evaluation.detections, run.path / "labels", save_conf=settings.save_conf)
    if settings.save_hybrid:
        logger.warning("with `save_hybrid` labels count as detections: the numbers are not those of the model")
    if settings.save_json:
        write_coco(index, evaluation.detections, splits.names, run)
    if settings.visualize:
        write_gallery(run.path, index, evaluation.detections, evaluation.metrics, splits.names)
    if not settings.noplots:
        draw_evaluation(run, index, evaluation, splits.names)
