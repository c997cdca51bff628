"""Runs a detector on all images of a dataset, and compares its detections with the labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from onelook.data.dataset_spec import DatasetSpec
from onelook.doctor.findings import Finding, Scans
from onelook.doctor.suspicions import ImageComparison, Suspicion, suspicions
from onelook.exports.opening import load_runnable
from onelook.files.bounded import printable
from onelook.files.images import read_image
from onelook.inference.backend import refuse_other_names
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.metrics.detection_metrics import evaluate
from onelook.processes.stop_signal import StopSignal
from onelook.settings.check import CheckSettings
from onelook.structures.sample import ImageLabels

# Low, so that weak detections still support labels; how much they count is measured.
CONF_THRES = 0.05
IOU_THRES = 0.5
MAX_DET = 300
BATCH = 8
LEAST_MAP50 = 0.3
"""Below it, most of what a detector contradicts is its own error."""


def open_judge(settings: CheckSettings, spec: DatasetSpec) -> Predictor:
    """The detector that judges the labels.

    Raises:
        CheckpointError: the weights cannot be used.
        ModelError: they have other classes.
        SettingsError: they need another size of images.
    """
    predictor = Predictor(
        load_runnable(Path(settings.weights), settings.device),
        PredictionSettings(imgsz=settings.imgsz, conf_thres=CONF_THRES, iou_thres=IOU_THRES, max_det=MAX_DET),
    )
    refuse_other_names(predictor.names, spec.names, weights=settings.weights, other=spec.path)
    return predictor


def judge_labels(judge: Predictor, scans: Scans, most: int, stop: StopSignal) -> tuple[float, tuple[Suspicion, ...]]:
    """The mAP50 of the detector on all splits together, which tells how far it can be trusted, and at most `most`
    labels that it contradicts, the strongest contradiction first; none if it is too weak."""
    compared = [one for split in scans for one in _compared(judge, scans, split, stop)]
    labels = [ImageLabels(one.boxes_xyxy, one.class_ids) for one in compared]
    metrics = evaluate(labels, [one.detections for one in compared], num_classes=len(judge.names), max_det=MAX_DET)
    if metrics.map50 < LEAST_MAP50:
        return metrics.map50, ()
    return metrics.map50, tuple(suspicions(compared, len(judge.names))[:most])


def suspicion_findings(found: Sequence[Suspicion], scans: Scans, names: Sequence[str]) -> list[Finding]:
    """A finding for each suspicion, in order."""
    return [
        Finding(
            one.kind,
            one.split,
            printable(scans[one.split].index.paths[one.image]),
            f"no. {rank}, strength {one.strength:.2f}: {suspicion_text(one, names)}",
            image=one.image,
            label=one.label,
        )
        for rank, one in enumerate(found, start=1)
    ]


def suspicion_text(suspicion: Suspicion, names: Sequence[str]) -> str:
    labelled = f"`{names[suspicion.labelled_class]}`" if suspicion.labelled_class >= 0 else ""
    seen = f"`{names[suspicion.seen_class]}`" if suspicion.seen_class >= 0 else ""
    score = f" (score {suspicion.score:.2f})"
    if suspicion.kind == "suspect-missing":
        return f"a {seen} at {_centre(suspicion.seen_box)} has no label{score}"
    if suspicion.kind == "suspect-class":
        return f"what is labelled {labelled} at {_centre(suspicion.labelled_box)} looks like {seen}{score}"
    if suspicion.kind == "suspect-place":
        where = f"at {_centre(suspicion.labelled_box)} is seen at {_centre(suspicion.seen_box)}"
        return f"the {labelled} labelled {where}{score}"
    return f"nothing is seen where {labelled} is labelled, at {_centre(suspicion.labelled_box)}"


def _centre(box: tuple[float, ...] | None) -> str:
    assert box is not None
    return f"({(box[0] + box[2]) / 2:.0f}, {(box[1] + box[3]) / 2:.0f})"


def _compared(predictor: Predictor, scans: Scans, split: str, stop: StopSignal) -> Iterator[ImageComparison]:
    index = scans[split].index
    for start in range(0, len(index), BATCH):
        stop.check()
        images = range(start, min(start + BATCH, len(index)))
        found = predictor.predict([read_image(index.paths[image], max_pixels=index.max_pixels) for image in images])
        for image, detections in zip(images, found, strict=True):
            labels = index.image_labels(image)
            first = int(index.offsets[image])
            size_hw, boxes = index.size_of(image), np.asarray(labels.boxes)
            yield ImageComparison(split, image, first, size_hw, boxes, labels.class_ids, detections)
