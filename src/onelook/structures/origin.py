"""Where weights come from, and under which licence: kept with them from checkpoint to checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 500


@dataclass(frozen=True)
class Origin:
    """What the first weights of a chain of trainings were.

    Attributes:
        source: who published them and where.
        licence: licence of the weights, an SPDX name; empty for weights of the user's own.
        notice: what the licence asks to pass on.
    """

    source: str
    licence: str = ""
    notice: str = ""

    def __str__(self) -> str:
        return f"{self.source}; licence {self.licence}" if self.licence else self.source


FROM_SCRATCH = Origin("trained from scratch: the weights are yours")
YOLOV5 = Origin(
    "a checkpoint of YOLOv5, https://github.com/ultralytics/yolov5",
    "AGPL-3.0",
    "The weights that YOLOv5 publishes, and those trained from them, are under AGPL-3.0.",
)
YOLOX = Origin(
    "YOLOX by Megvii, https://github.com/Megvii-BaseDetection/YOLOX",
    "Apache-2.0",
    "Copyright (c) 2021-2022 Megvii Inc. Changed here: the stem takes RGB from 0 to 1, tensors are renamed; a training "
    "may have followed.",
)


def origin_of(content: Any) -> Origin | None:
    """The origin that a checkpoint's document keeps; None if it keeps none."""
    if not isinstance(content, Mapping) or not isinstance(content.get("source"), str):
        return None
    return Origin(*(str(content.get(name, ""))[:MAX_CHARACTERS] for name in ("source", "licence", "notice")))
