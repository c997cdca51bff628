"""The setting `weights` may name the folder of a run, which stands for the best weights of the run."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

PLACES = ("weights/best.safetensors", "best.safetensors")
"""Of the best weights, below the folder of a run and below its folder `weights`."""


def file_of_run(given: Any) -> Any:
    """`given`, a path or several, with the best weights instead of each folder of a run; anything else as it is."""
    if isinstance(given, list | tuple):
        return [file_of_run(each) for each in given]
    if not isinstance(given, str | os.PathLike) or not given or not Path(given).is_dir():
        return given
    for place in PLACES:
        best = Path(given) / place
        if best.is_file():
            logger.info("weights `%s`: a run; its best are taken, `%s`", os.fspath(given), best)
            return str(best)
    return given
