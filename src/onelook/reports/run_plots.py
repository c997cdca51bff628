"""The plots that a training and a validation write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from onelook.data.item import collate
from onelook.data.splits import Splits
from onelook.files.bounded import printable
from onelook.files.images import read_image
from onelook.inference.evaluator import Evaluation
from onelook.models.detector import DetectionModel
from onelook.reports.plots.batches import plot_batch, plot_labels_and_predictions
from onelook.reports.plots.confusion_matrix import plot_confusion_matrix
from onelook.reports.plots.curves import plot_curves
from onelook.reports.plots.label_statistics import plot_label_correlogram, plot_label_statistics
from onelook.runs.run_dir import RunDir
from onelook.structures.dataset_index import DatasetIndex
from onelook.training.loading import training_set
from onelook.training.run import Run
from onelook.training.state import Progress

NUM_TRAIN_BATCHES = 3
NUM_VAL_MOSAICS = 3
IMAGES_PER_MOSAIC = 4
IMAGES_PER_BATCH = 16


def draw_data(data: Splits, model: DetectionModel, run: Run) -> None:
    """Write the label statistics and the first training batches, exactly as the model gets them."""
    folder, index, names = run.folder, data.scans["train"].index, data.names
    plot_label_statistics(index, names, folder.image("labels.png"))
    plot_label_correlogram(index, folder.image("labels_correlogram.png"))
    dataset, order = training_set(data, model, run, Progress())
    whole = replace(order, rank=0, world_size=1)
    for number, keys in zip(range(NUM_TRAIN_BATCHES), whole, strict=False):
        batch = collate([dataset[key] for key in keys[:IMAGES_PER_BATCH]])
        plot_batch(batch, names, folder.image(f"train_batch{number}.jpg"))


def draw_evaluation(run: RunDir, index: DatasetIndex, evaluation: Evaluation, names: tuple[str, ...]) -> None:
    """Write the curves, the confusion matrix, and labels beside detections of images spread over the split."""
    plot_curves(evaluation.metrics, names, run.path)
    plot_confusion_matrix(evaluation.metrics.confusion_cells, names, run.image("confusion_matrix.png"))
    wanted = min(NUM_VAL_MOSAICS * IMAGES_PER_MOSAIC, len(index))
    chosen = np.linspace(0, len(index) - 1, wanted).astype(int).tolist()
    for number in range(0, wanted, IMAGES_PER_MOSAIC):
        shown = chosen[number : number + IMAGES_PER_MOSAIC]
        plot_labels_and_predictions(
            [read_image(index.paths[image], max_pixels=index.max_pixels) for image in shown],
            [index.image_labels(image) for image in shown],
            [evaluation.detections[image] for image in shown],
            names,
            run.image(f"val_batch{number // IMAGES_PER_MOSAIC}.jpg"),
            files=[Path(printable(index.paths[image])).name for image in shown],
        )
