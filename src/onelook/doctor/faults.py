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
        "error", "images that cannot be used", "replace them, or take them away with their labels", "left out"
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
    "no-area": Fault("error", "boxes without area", "draw them again, or remove them", "left out"),
    "leaked-image": Fault(
        "error", "images that are in another split too", "remove them from one: scores on them are false",
        "left out of the smaller split",
    ),
    "absent-class": Fault("error", "classes without a label to learn from", "label some, or drop the class"),
    "leaked-look": Fault(
        "warning", "images that look like one of another split", "keep such images together: `onelook split`"
    ),
    "doubled-image": Fault("warning", "images that are there twice", "keep one of them", "one is kept"),
    "dark-image": Fault(
        "warning",
        "images of 16 bits that become dark or black",
        "`--fix` scales all images alike; do so with every image that you detect in, too",
        "all images of 16 bits are scaled by one factor",
    ),
    "flat-image": Fault("warning", "images that show next to nothing", "view them; remove them if they are broken"),
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
        "warning", "images that are not read", "save them as .jpg or .png, under the same names", "left out"
    ),
    "more-images": Fault(
        "warning", "files with more than one image", "save each page or frame that you need as a file of its own"
    ),
    "keypoint-row": Fault(
        "warning", "polygons that may be boxes with keypoints", "say `kpt_shape: [number, 2 or 3]` in the YAML"
    ),
    "corner-row": Fault(
        "warning", "boxes that may be written as their corners", "write centre, width and height as fractions"
    ),
    "stray-polygon": Fault("warning", "polygons that lie elsewhere than their boxes", "draw or remove them"),
    "whole-image": Fault("warning", "boxes that have become the whole image", "view them; draw them again"),
    "clipped-box": Fault("warning", "boxes that leave their image", "draw them up to the edge", "clipped"),
    "repeated-row": Fault("warning", "labels that are there twice", "remove the repetition", "removed"),
    "doubled-object": Fault(
        "warning", "objects with two boxes of one class", "remove one of them", "the later one is removed"
    ),
    "disputed-object": Fault("warning", "objects with boxes of two classes", "decide which class it is"),
    "tiny-object": Fault(
        "warning", "objects that vanish at this size", "train at a larger `--imgsz`, or cut images into tiles"
    ),
    "no-label-file": Fault(
        "warning", "images that nothing is said of", "label them; an empty label file says that they are background",
        "an empty label file is written",
    ),
    "untested-class": Fault("warning", "classes without a label to be measured on", "put some into the split"),
    "far-anchors": Fault(
        "warning", "anchors that many objects are out of reach of", "leave it to training, or see `onelook anchors`"
    ),
    "doubled-look": Fault("note", "images that look alike", "near-repetitions teach little; keep the best of them"),
    "odd-file": Fault("note", "files that are not quite what they say", "save them again", "mended"),
    "unlisted-image": Fault(
        "note", "images that the annotation file does not list",
        "list them, also those without objects; or nothing, if you have chosen so", "left out",
    ),
    "set-aside": Fault(
        "note", "objects that their format sets aside", "nothing, if they are crowds or difficult ones", "left out"
    ),
    "turned-image": Fault(
        "note", "images that EXIF turns", "Onelook turns them; check that their labels were drawn on turned images"
    ),
    "empty-label-file": Fault("note", "images without objects", "nothing, if they are background"),
    "rare-class": Fault("note", "classes with few labels", "collect more, or see `--image-weights`"),
    "imbalance": Fault("note", "classes that far outnumber others", "see `--image-weights`"),
    "small-objects": Fault("note", "many small objects", "train at a larger `--imgsz`, or take a model with a P2 map"),
    "suspect-missing": Fault("note", "objects that seem to have no label", "review them, the first ones first"),
    "suspect-class": Fault("note", "labels that seem to have the wrong class", "review them, the first ones first"),
    "suspect-place": Fault("note", "labels that seem to be misplaced", "review them, the first ones first"),
    "suspect-extra": Fault("note", "labels of what seems to be nothing", "review them, the first ones first"),
}  # fmt: skip
