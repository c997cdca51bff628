"""Names of models that people know from elsewhere, and the model here that is nearest in size."""

from __future__ import annotations

import difflib
import re

_NAME = re.compile(
    r"(?:yolo|rt-?detr)[-_]?(?P<generation>v\d+|x|nas|\d+|)[-_]?(?P<size>nano|tiny|[nstmlxbce])?"
    r"(?P<rest>(?:[-_.]\w[-_.\w]*)?)",
    re.IGNORECASE,
)
_YOLOX_OF_SIZE = {
    "n": "nano",
    "nano": "nano",
    "t": "tiny",
    "tiny": "tiny",
    "s": "s",
    "small": "s",
    "m": "m",
    "medium": "m",
    "b": "l",
    "c": "l",
    "l": "l",
    "large": "l",
}
READ = ("v3", "v5", "3", "5", "x")
"""Generations of which Onelook has the models, also with the `v` forgotten."""


def known_elsewhere(name: str) -> tuple[str, str] | None:
    """Generation, as in `READ`, and the nearest YOLOX of a model that is well known; None for any other name.

    >>> known_elsewhere("yolo11n"), known_elsewhere("yolov5x6"), known_elsewhere("mine")
    (('11', 'yolox-nano'), ('v5', 'yolox-x'), None)
    """
    match = _NAME.fullmatch(name.removesuffix("6") if name[-2:-1].isalpha() else name)
    if match is None:
        return None
    misspelt = difflib.get_close_matches(match["rest"].lower().strip("-_."), _YOLOX_OF_SIZE, n=1)
    size = match["size"] or (misspelt[0] if misspelt else "s")
    return match["generation"].lower(), f"yolox-{_YOLOX_OF_SIZE.get(size.lower(), 'x')}"
