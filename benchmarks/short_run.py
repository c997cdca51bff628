"""A training whose figures alone are wanted: on the CPU, without images and pages, its folder thrown away."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onelook

QUIET: dict[str, Any] = {"workers": 0, "noplots": True, "noreport": True, "device": "cpu"}


def metrics_of_run(yaml: str | Path, **settings: Any) -> onelook.DetectionMetrics:
    """Figures of the best epoch."""
    with TemporaryDirectory() as folder:
        return onelook.train(yaml, **QUIET, project=folder, **settings).metrics
