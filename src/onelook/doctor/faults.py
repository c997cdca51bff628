"""The kinds of faults, with their severities and cures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        severity: `error`: labels are lost or wrong, or scores false; `warning`: probably harmful; `note`: good to know.
        title: description in the plural.
        cure: what to do about it.
        fixed: what `--fix` does about it; empty if only a person can cure it.
    """

    severity: Severity
    title: str
    cure: str
    fixed: str = ""


FAULTS: dict[str, Fault] = {
    "unusable-image": Fault(
        "error", "images that cannot be used", "replace them, or remove them with their labels", "left out"
    ),
    "unread-split": Fault(
        "error", "splits that cannot be read", "correct the entry of the dataset file, or remove it"
    ),
    "bomb": Fault(
        "error",
        "images that would need far too much memory",
        "replace or remove them, or allow more `--max-pixels`",
        "left out",
    ),
    "unknown-class": Fault(
        "error", "labels of a class that has no name", "add its name to the YAML, or correct the id", "left out"
    ),
    "refused-row": Fault("error", "labels that cannot be read", "correct the row", "left out"),
    "outside": Fault(
        "error", "boxes outside their image", "coordinates are fractions of the image, not pixels", "left out"
    ),
    "no-area": Fault("error", "boxes without area", "redraw or remove them", "left out"),
    "leaked-image": Fault(
        "error", "images that are in another split too", "remove them from one split: metrics on them are misleading",
        "left out of the smaller split",
    ),
    "absent-class": Fault("error", "classes without training labels", "label some, or drop the class"),
    "leaked-look": Fault(
        "warning", "images that look like one of another split", "keep such images together: `onelook split`"
    ),
    "doubled-image": Fault("warning", "duplicate images", "keep one of them", "one is kept"),
    "dark-image": Fault(
        "warning",
        "images of 16 bits that become dark or black",
        "`--fix` scales all images alike; do so with every image that you detect in, too",
        "all images of 16 bits are scaled by one factor",
    ),
    "flat-image": Fault("warning", "images that are nearly blank", "view them; remove them if they are broken"),
    "crowded-image": Fault(
        "warning", "images with more objects than detections count", "raise `--max-det` of train, val and detect"
    ),
    "lost-label": Fault(
        "warning", "label files without an image", "put the image back, or remove the label file", "left out"
    ),
    "near-label": Fault(
        "warning", "label files whose names are nearly those of images", "give both the same name", "renamed"
    ),
    "shared-label": Fault(
        "warning", "images that share a label file with another", "give each a name of its own", "each has its own"
    ),
    "unread-image": Fault(
        "warning", "images with an unsupported format or suffix", "save or rename them as .jpg or .png", "left out"
    ),
    "more-images": Fault(
        "warning", "files with more than one image", "save each page or frame that you need as a file of its own"
    ),
    "keypoint-row": Fault(
        "warning", "polygons that may be boxes with keypoints", "add `kpt_shape: [number, 2 or 3]` to the YAML"
    ),
    "corner-row": Fault(
        "warning", "boxes that may be written as their corners", "write centre, width and height as fractions"
    ),
    "stray-polygon": Fault("warning", "polygons that lie elsewhere than their boxes", "draw or remove them"),
    "whole-image": Fault("warning", "boxes that were clipped to the whole image", "view them, and redraw wrong ones"),
    "clipped-box": Fault("warning", "boxes partly outside their image", "end them at the edge of the image", "clipped"),
    "repeated-row": Fault("warning", "duplicate labels", "remove the copies", "removed"),
    "doubled-object": Fault(
        "warning", "objects with two boxes of one class", "remove one of them", "the later one is removed"
    ),
    "disputed-object": Fault("warning", "objects with boxes of two classes", "decide which class it is"),
    "tiny-object": Fault(
        "warning", "objects too small for this image size", "train at a larger `--imgsz`, or cut images into tiles"
    ),
    "no-label-file": Fault(
        "warning", "images without a label file", "label them; an empty label file marks an image as background",
        "an empty label file is written",
    ),
    "untested-class": Fault("warning", "classes without labels in val or test", "add some to the split"),
    "far-anchors": Fault(
        "warning", "anchors that cannot match many objects", "leave it to training, or see `onelook anchors`"
    ),
    "doubled-look": Fault("note", "images that look alike", "near-duplicates teach little; keep the best of them"),
    "odd-file": Fault("note", "files with harmless faults", "save them again", "repaired"),
    "unlisted-image": Fault(
        "note", "images that the annotation file does not list",
        "list them, including those without objects; nothing, if you left them out on purpose", "left out",
    ),
    "set-aside": Fault(
        "note", "objects marked to be ignored", "nothing, if they are crowds or difficult objects", "left out"
    ),
    "turned-image": Fault(
        "note", "images rotated by EXIF", "Onelook rotates them; check that the labels fit the rotated images"
    ),
    "empty-label-file": Fault("note", "images without objects", "nothing, if they are background"),
    "rare-class": Fault("note", "classes with few labels", "collect more images of them, or see `--image-weights`"),
    "imbalance": Fault("note", "classes that far outnumber others", "see `--image-weights`"),
    "small-objects": Fault("note", "many small objects", "train at a larger `--imgsz`, or take a model with a P2 map"),
    "suspect-missing": Fault("note", "objects that seem to have no label", "review them from the top"),
    "suspect-class": Fault("note", "labels that seem to have the wrong class", "review them from the top"),
    "suspect-place": Fault("note", "labels that seem to be misplaced", "review them from the top"),
    "suspect-extra": Fault("note", "labels that seem to have no object", "review them from the top"),
}  # fmt: skip
