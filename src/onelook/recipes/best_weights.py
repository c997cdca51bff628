"""The last evaluation of a run: that of its best weights, with plots, and as COCO runs are compared."""

from __future__ import annotations

import logging

import torch

from onelook.data.splits import Splits
from onelook.inference.evaluator import Evaluator
from onelook.processes.stop_signal import StopSignal
from onelook.reports.choose_examples import write_examples
from onelook.reports.evaluation_files import write_coco, write_metrics
from onelook.reports.plots.results import plot_results
from onelook.reports.run_plots import draw_evaluation
from onelook.runs.checkpoint import load_checkpoint
from onelook.structures.coco_classes import is_coco
from onelook.structures.metrics import DetectionMetrics
from onelook.training.callback import FitEnd
from onelook.training.run import Run
from onelook.training.weights import detector_of, weights_of

logger = logging.getLogger(__name__)

COCO_IOU_THRES = 0.65
"""NMS threshold for results that are compared with published ones on COCO."""


def measure_best(
    data: Splits, run: Run, evaluator: Evaluator, outcome: FitEnd, *, device: torch.device, stop: StopSignal
) -> DetectionMetrics:
    """Load the best weights from their file, as a user will, measure them once more, and write what was found.

    Raises:
        CheckpointError: the file cannot be read.
    """
    group, folder, index = run.group, run.folder, data.scans["val"].index
    best = group.share_checkpoint(lambda: load_checkpoint(folder.best))
    model = detector_of(weights_of(best, "ema/", folder.best), device)
    evaluation = evaluator.run(model, stop=stop)
    if group.is_first:
        write_metrics(evaluation, data.names, folder)
        if not run.settings.noplots:
            draw_evaluation(folder, index, evaluation, data.names)
            plot_results(outcome.history, folder.image("results.png"))
            write_examples(folder.examples, index, evaluation.detections, evaluation.metrics)
    if is_coco(data.names):
        measured = evaluator.with_iou_thres(COCO_IOU_THRES).run(model, stop=stop)
        if group.is_first:
            write_coco(index, measured.detections, data.names, folder)
            _say_as_coco(measured.metrics)
    return evaluation.metrics


def _say_as_coco(metrics: DetectionMetrics) -> None:
    """The numbers that papers compare."""
    logger.info(
        "COCO's numbers, NMS at IoU %g: AP %.4f, AP50 %.4f, AP75 %.4f, small %.4f, medium %.4f, large %.4f",
        COCO_IOU_THRES,
        *(metrics.map50_95, metrics.map50, metrics.map75, metrics.map_small, metrics.map_medium, metrics.map_large),
    )
