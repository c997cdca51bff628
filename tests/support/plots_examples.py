"""Made-up metrics, labels and images for the tests of the plots, and what every image must satisfy."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from onelook.structures.batch import Batch, ImageInfo, Targets
from onelook.structures.confusion_cells import cells_of
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.metrics import DetectionMetrics, MetricCurves

AWKWARD_NAMES = (
    "Größe",
    "類別",
    "a very long class name that never seems to end at all",
    "cost $\\frac$",
    "",
    "λ\nμ",
)


def make_metrics(num_labelled: int, *, num_classes: int | None = None, seed: int = 0) -> DetectionMetrics:
    rng = np.random.default_rng(seed)
    num_classes = num_labelled if num_classes is None else num_classes
    confidence = np.linspace(0, 1, 1000)
    reach = rng.uniform(0.3, 0.95, (num_labelled, 1))
    recall = reach * (1 - confidence[None] ** (1 + 6 * reach))
    precision = reach + (1 - reach) * np.sqrt(confidence[None])
    f1 = 2 * precision * recall / (precision + recall + 1e-16)
    recall_points = np.linspace(0, 1, 101)
    at_recall = np.clip(1 - (recall_points[None] / reach) ** 6, 0, 1)
    best = int(f1.mean(axis=0).argmax()) if num_labelled else 0
    ap = at_recall.mean(axis=1)
    confusion = rng.integers(0, 4, (num_classes + 1, num_classes + 1)) + 30 * np.eye(num_classes + 1, dtype=np.int64)
    confusion[-1, -1] = 0

    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if num_labelled else float("nan")

    return DetectionMetrics(
        precision=mean(precision[:, best]), recall=mean(recall[:, best]), f1=mean(f1[:, best]),
        map50=mean(ap), map75=mean(ap * 0.6), map50_95=mean(ap * 0.5),
        map_small=float("nan"), map_medium=0.4, map_large=0.5,
        class_ids=np.arange(num_labelled), class_precision=precision[:, best], class_recall=recall[:, best],
        class_f1=f1[:, best], class_ap50=ap, class_ap=ap * 0.5,
        class_num_images=rng.integers(1, 50, num_labelled), class_num_labels=rng.integers(50, 500, num_labelled),
        num_images=60, num_labels=1000, best_confidence=float(confidence[best]),
        curves=MetricCurves(confidence, precision, recall, f1, recall_points, at_recall),
        num_classes=num_classes, confusion_cells=cells_of(confusion),
    )  # fmt: skip


def make_index(num_classes: int, num_labels: int, *, skew: float = 1.0) -> DatasetIndex:
    rng = np.random.default_rng(0)
    weights = np.arange(1, num_classes + 1, dtype=np.float64) ** -skew
    class_ids = rng.choice(num_classes, size=num_labels, p=weights / weights.sum()).astype(np.int64)
    sizes = np.exp(rng.normal(-2, 0.8, (num_labels, 2))).clip(0.0001, 1)
    boxes = np.concatenate([rng.beta(2, 2, (num_labels, 2)), sizes], axis=1).astype(np.float32)
    return DatasetIndex(
        paths=("a.jpg",), sizes_hw=np.array([[480, 640]], np.int32), offsets=np.array([0, num_labels]),
        class_ids=class_ids, boxes=boxes, polygon_offsets=np.zeros(num_labels + 1, np.int64),
        polygon_points=np.zeros((0, 2), np.float32), fingerprint="0",
    )  # fmt: skip


def make_batch(num_images: int, *, height: int = 96, width: int = 128, boxes_per_image: int = 2) -> Batch:
    rng = np.random.default_rng(0)
    num_boxes = num_images * boxes_per_image
    targets = Targets(
        image_index=torch.arange(num_images).repeat_interleave(boxes_per_image),
        class_ids=torch.from_numpy(rng.integers(0, 3, num_boxes)),
        boxes=torch.from_numpy(rng.uniform(0.2, 0.6, (num_boxes, 4)).astype(np.float32)),
    )
    images = torch.from_numpy(rng.integers(90, 160, (num_images, 3, height, width)).astype(np.uint8))
    infos = tuple(
        ImageInfo(number, f"some/folder/image_{number:06d}.jpg", (height, width)) for number in range(num_images)
    )
    return Batch(images, targets, infos)


def drawn(path: Path) -> np.ndarray:
    """The decoded file, (H, W, 3) RGB."""
    image = cv2.imread(str(path))
    assert image is not None, f"{path} is not an image"
    return image[..., ::-1]


def assert_chart(path: Path) -> np.ndarray:
    """The file holds ink, and none of it touches the border, where it would be cut."""
    image = drawn(path)
    assert min(image.shape[:2]) > 200
    assert image[::4, ::4].std() > 1, "blank"
    frame = np.concatenate([image[:3].ravel(), image[-3:].ravel(), image[:, :3].ravel(), image[:, -3:].ravel()])
    assert frame.min() > 240, "something is cut at the border"
    assert [file.name for file in path.parent.iterdir() if "tmp" in file.name] == []
    return image
