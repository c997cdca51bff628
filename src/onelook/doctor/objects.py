"""Labels that are usable but odd: objects with two boxes, tiny objects, crowded images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from onelook.data.scan.rules import crowded_images
from onelook.doctor.findings import Finding, Scans
from onelook.files.bounded import printable
from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.iou import paired_iou
from onelook.structures.dataset_index import DatasetIndex
from onelook.training.autoanchor import SMALL_SIDE_PX, Array, label_sizes_px

# Boxes of neighbours overlap less; two boxes around one object hardly ever do.
SAME_OBJECT_IOU = 0.9
# With more objects than this, each box is compared with the nearest ones only.
MAX_OBJECTS = 2000
_NEIGHBOURS = 50


def doubled_object_findings(scans: Scans, names: Sequence[str]) -> Iterator[Finding]:
    """Pairs of boxes that cover the same object; the later row of each pair is reported, once."""
    for split, scan in scans.items():
        index = scan.index
        for image in np.flatnonzero(np.diff(index.offsets) > 1).tolist():
            rows = index.labels_of(image)
            boxes = cxcywh_to_xyxy(index.boxes[rows].astype(np.float64))
            reported: set[int] = set()
            for one, other, iou in overlapping_pairs(boxes, SAME_OBJECT_IOU):
                first, second = rows.start + one, rows.start + other
                if second in reported:
                    continue
                reported.add(second)
                classes = int(index.class_ids[first]), int(index.class_ids[second])
                is_same = classes[0] == classes[1]
                kind = "doubled-object" if is_same else "disputed-object"
                both = f"a `{names[classes[0]]}`" if is_same else " and ".join(f"`{names[k]}`" for k in classes)
                detail = f"{both} at {centre_of(index, second)} has two boxes, IoU {iou:.2f}"
                yield Finding(kind, split, printable(index.paths[image]), detail, image=image, label=second)


def tiny_object_findings(scans: Scans, names: Sequence[str], imgsz: int) -> Iterator[Finding]:
    """Objects with a side below 3 pixels when the longer side of their image is `imgsz`."""
    for split, scan in scans.items():
        index = scan.index
        sizes_px = label_sizes_px(index, imgsz)
        for label in np.flatnonzero((sizes_px < SMALL_SIDE_PX).any(axis=1)).tolist():
            width, height = sizes_px[label].tolist()
            name, image = names[int(index.class_ids[label])], image_of(index, label)
            detail = f"a `{name}` at {centre_of(index, label)} is {width:.1f} x {height:.1f} pixels at {imgsz}"
            yield Finding("tiny-object", split, printable(index.paths[image]), detail, image=image, label=label)


def crowded_findings(scans: Scans, max_det: int) -> Iterator[Finding]:
    """Images with more labels than `max_det`: even perfect detections would miss some."""
    for split, scan in scans.items():
        for image, count in crowded_images(scan.index, max_det):
            detail = f"{count} labels; of an image, {max_det} detections count"
            yield Finding("crowded-image", split, printable(scan.index.paths[image]), detail, image=image)


def overlapping_pairs(boxes_xyxy: Array, least_iou: float) -> list[tuple[int, int, float]]:
    """Pairs of rows, the smaller one first, whose boxes overlap by at least `least_iou`, and by how much; sorted.

    Args:
        boxes_xyxy: (N, 4). Of more than 2000, each is compared with its next 50 in the order of their left edges.
        least_iou: 0 to 1.
    """
    count = len(boxes_xyxy)
    if count <= MAX_OBJECTS:
        first, second = np.triu_indices(count, 1)
    else:
        order = np.argsort(boxes_xyxy[:, 0], kind="stable")
        steps = [np.stack([order[:-step], order[step:]]) for step in range(1, _NEIGHBOURS + 1)]
        first, second = np.sort(np.concatenate(steps, axis=1), axis=0)
    iou = paired_iou(boxes_xyxy[first], boxes_xyxy[second])
    kept = np.flatnonzero(iou >= least_iou)
    return sorted(zip(first[kept].tolist(), second[kept].tolist(), iou[kept].tolist(), strict=True))


def image_of(index: DatasetIndex, label: int) -> int:
    """The number of the image that a label row belongs to."""
    return int(np.searchsorted(index.offsets, label, "right")) - 1


def centre_of(index: DatasetIndex, label: int) -> str:
    """The centre of a label's box as text, pixels."""
    height, width = index.size_of(image_of(index, label))
    x, y = index.boxes[label, :2].tolist()
    return f"({x * width:.0f}, {y * height:.0f})"
