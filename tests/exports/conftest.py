"""Exports that tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from colours import colour_detector, plan_of

from onelook.exports.formats import EXPORTERS
from onelook.models.fuse import fuse


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the colour detector in a format, for one image of 64 x 96 pixels: made once, and changed by nobody."""
    made: dict[str, Path] = {}

    def path_of(name: str) -> Path:
        if name not in made:
            kind = EXPORTERS[name]
            made[name] = tmp_path_factory.mktemp(name) / f"best{kind.ending}"
            if kind.is_folder:
                made[name].mkdir()
            decoding = {"decoding": fuse(colour_detector()).head.decoding()} if name == "ncnn" else {}
            kind.write(plan_of(frame_hw=(64, 96), batch=1, **decoding), made[name])
        return made[name]

    return path_of
