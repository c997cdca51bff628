"""Files of a validation: metrics, text labels, and COCO's JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from onelook.callbacks.detection_files import Names, label_lines
from onelook.files.atomic import write_bytes_atomic, write_json_atomic, write_text_atomic
from onelook.inference.evaluator import Evaluation
from onelook.metrics.coco_json import labelling_of, to_coco_json
from onelook.metrics.fold_summary import CLASS_MEASURES
from onelook.runs.run_dir import RunDir
from onelook.structures.confusion_cells import as_document
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.detections import Detections
from onelook.structures.metrics import as_arrays


def write_metrics(evaluation: Evaluation, names: tuple[str, ...], run: RunDir) -> None:
    """Write the metrics of an evaluation as JSON, overall and per class, undefined ones as null; and all as arrays."""
    metrics = evaluation.metrics
    scalars = ("precision", "recall", "f1", "map50", "map75", "map50_95", "map_small", "map_medium", "map_large")
    content: dict[str, Any] = {name: getattr(metrics, name) for name in (*scalars, "fitness", "best_confidence")}
    content |= {"num_images": metrics.num_images, "num_labels": metrics.num_labels}
    content["classes"] = [
        {
            "name": names[int(class_id)],
            "images": int(metrics.class_num_images[row]),
            "labels": int(metrics.class_num_labels[row]),
            **{name: getattr(metrics, attribute)[row] for name, attribute in CLASS_MEASURES.items()},
        }
        for row, class_id in enumerate(metrics.class_ids)
    ]
    content |= as_document(metrics.confusion_cells, metrics.num_classes)
    content["milliseconds_per_image"] = {name: round(value, 3) for name, value in evaluation.milliseconds.items()}
    write_json_atomic(run.metrics, content)
    arrays = io.BytesIO()
    np.savez_compressed(arrays, allow_pickle=False, **as_arrays(metrics))
    write_bytes_atomic(run.metrics_arrays, arrays.getvalue())


def write_labels(
    index: DatasetIndex, detections: Sequence[Detections], folder: Path, *, save_conf: bool = False
) -> None:
    """Write the detections of each image to `folder`/stem.txt, as lines `class x y w h` like those of a dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    stems = distinct([PurePath(path).stem for path in index.paths])
    for stem, found, size_hw in zip(stems, detections, index.sizes_hw.tolist(), strict=True):
        write_text_atomic(folder / f"{stem}.txt", label_lines(found, size_hw=size_hw, save_conf=save_conf))


def write_coco(index: DatasetIndex, detections: Sequence[Detections], names: Sequence[str], run: RunDir) -> None:
    """Write labels and predictions of a split in COCO's format."""
    labels = [index.image_labels(image) for image in range(len(index))]
    labelling = labelling_of(index, names)
    dataset, predictions = to_coco_json(labels, detections, num_classes=len(names), labelling=labelling)
    write_text_atomic(run.image("coco_truth.json"), json.dumps(dataset))
    write_text_atomic(run.image("coco_predictions.json"), json.dumps(predictions))


def distinct(names: Sequence[str]) -> list[str]:
    """The names, repeated ones with `_2`, `_3`, ... appended; case is ignored.

    >>> distinct(["a", "b", "a", "A", "a_2"])
    ['a', 'b', 'a_2', 'A_3', 'a_2_2']
    """
    claimed = Names()
    return [claimed.claim("", name) for name in names]
