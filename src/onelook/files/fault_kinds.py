"""The kinds of faults that readers of files tell apart: a type, so that no code has to search the text of a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Names of `doctor/faults.py`, but for the last: rows that cannot be used only because their image cannot.
FaultKind = Literal[
    "bomb",
    "corner-row",
    "dark-image",
    "keypoint-row",
    "lost-label",
    "more-images",
    "near-label",
    "no-area",
    "outside",
    "shared-label",
    "stray-polygon",
    "unlisted-image",
    "unread-image",
    "whole-image",
    "of-unusable-image",
]


@dataclass(frozen=True)
class Remark:
    """Something to say about a file.

    Attributes:
        text: what, without the name of the file.
        kind: kind of fault; None if the outcome says it all.
    """

    text: str
    kind: FaultKind | None = None
