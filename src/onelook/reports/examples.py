"""The best and worst images of an evaluation, as `examples.json` holds them: small copies, labels and detections.

Imports nothing heavy: reports read this, and need no torch.
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
MAX_BOXES = 300  # of one kind on one image; more could not be told apart


def _base64(text: str) -> str:
    base64.b64decode(text, validate=True)
    return text


@dataclass(frozen=True)
class ExampleBox:
    """A label or a detection.

    Attributes:
        box: left, top, right, bottom, pixels of the original image.
        class_id: class of the box.
        is_right: a label that was found, or a detection that hits a label of its class.
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
        jpeg: a small copy, base64.
        right, missed, wrong: labels found, labels not found, detections that hit no label.
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
        """Of the file, without its folders."""
        return PurePath(self.file).name or self.file


@dataclass(frozen=True)
class Examples:
    """What `examples.json` holds.

    Attributes:
        confidence: detections with a lower score count for nothing.
        worst: least F1 first; among ties, the one with the most errors.
        best: highest F1 first; among ties, the one with the most labels.
    """

    confidence: float
    worst: Annotated[tuple[Example, ...], Field(max_length=NUM_EACH)] = ()
    best: Annotated[tuple[Example, ...], Field(max_length=NUM_EACH)] = ()


def examples_from_json(text: str | bytes) -> Examples:
    """What `write_examples` wrote; ValueError if the text holds something else."""
    return from_document(Examples, json.loads(text), version=FORMAT)
