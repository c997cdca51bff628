"""`examples.json`: the best and worst images of an evaluation, as thumbnails with labels and detections.

Imports nothing heavy: reports need no torch.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator, Field, FiniteFloat, PositiveInt

from onelook.files.json_values import from_document

FORMAT = 1
NUM_EACH = 6
MAX_BOXES = 300  # of one kind on one image; more cannot be told apart


def _base64(text: str) -> str:
    base64.b64decode(text, validate=True)
    return text


@dataclass(frozen=True)
class ExampleBox:
    """A label or a detection.

    Attributes:
        box: left, top, right, bottom, pixels of the original image.
        is_right: a label that was found, or a detection that matches a label of its class.
        score: 0 to 1; None for a label.
    """

    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    class_id: int
    is_right: bool
    score: float | None = None


@dataclass(frozen=True)
class Example:
    """One image.

    Attributes:
        file: its path, printable.
        size_hw: height and width of the original, pixels.
        jpeg: thumbnail, base64.
        right, missed, wrong: number of labels found, of labels missed, and of detections that match no label.
        labels, detections: at most 300 boxes each.
    """

    file: str
    size_hw: tuple[PositiveInt, PositiveInt]
    jpeg: Annotated[str, AfterValidator(_base64)]
    right: int
    missed: int
    wrong: int
    labels: Annotated[tuple[ExampleBox, ...], Field(max_length=MAX_BOXES)] = ()
    detections: Annotated[tuple[ExampleBox, ...], Field(max_length=MAX_BOXES)] = ()

    @property
    def name(self) -> str:
        """Name of the file without its folders."""
        return PurePath(self.file).name or self.file


@dataclass(frozen=True)
class Examples:
    """The content of `examples.json`.

    Attributes:
        confidence: detections with a lower score are ignored.
        worst: lowest F1 first; among ties, the one with the most errors.
        best: highest F1 first; among ties, the one with the most labels.
    """

    confidence: float
    worst: Annotated[tuple[Example, ...], Field(max_length=NUM_EACH)] = ()
    best: Annotated[tuple[Example, ...], Field(max_length=NUM_EACH)] = ()


def examples_from_json(text: str | bytes) -> Examples:
    """The content of `examples.json`; ValueError if the text is something else."""
    return from_document(Examples, json.loads(text), version=FORMAT)
