"""Writes `run.json`: model, data, machine, versions and warnings of a run."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from onelook.callbacks.installation import checkout_commit, installed_version
from onelook.callbacks.warning_log import MAX_WARNINGS
from onelook.data.capacity import available_processors
from onelook.errors import DataError
from onelook.files.atomic import write_text_atomic
from onelook.files.bounded import read_bounded
from onelook.files.json_values import from_document
from onelook.training.callback import Callback, FitEnd, FitStart

logger = logging.getLogger(__name__)

FORMAT = 1
MAX_BYTES = 1 << 25
PACKAGES = ("onelook", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class SplitFacts:
    """One split: number of its images, and of the labels of each class."""

    images: int
    labels: tuple[int, ...]


@dataclass(frozen=True)
class RunFacts:
    """The content of `run.json`.

    Attributes:
        model: name and parameters, in words.
        environments: versions and machine by name; one more for each change when the run was resumed.
        warnings: all warnings of the run, each once.
        reason: how training ended: "finished", "early stop", ...; empty until then.
    """

    model: str
    names: tuple[str, ...]
    splits: Mapping[str, SplitFacts]
    environments: tuple[Mapping[str, str], ...]
    warnings: tuple[str, ...]
    reason: str = ""


class RunFactsFile(Callback):
    """Keeps `run.json`; a resumed run adds to what is there.

    Args:
        warnings: a list that grows during the run.
    """

    _facts: RunFacts  # from the first event on

    def __init__(self, path: Path, warnings: Sequence[str]) -> None:
        self._path = path
        self._warnings = warnings

    def on_fit_start(self, event: FitStart) -> None:
        """Write all that is known before the first step."""
        before = _earlier(self._path) if event.is_resumed else None
        environments = before.environments if before is not None else ()
        now = environment(event.device)
        if now not in environments:
            environments = (*environments, now)
        splits = {
            split: SplitFacts(len(index), tuple(np.bincount(index.class_ids, minlength=len(event.names)).tolist()))
            for split, index in event.indexes.items()
        }
        self._facts = RunFacts(
            model=before.model if before is not None else event.model_summary,
            names=event.names,
            splits=splits,
            environments=environments,
            warnings=before.warnings if before is not None else (),
        )
        self._write("")

    def on_fit_end(self, event: FitEnd) -> None:
        """Add the warnings and how the run ended."""
        self._write(event.reason)

    def _write(self, reason: str) -> None:
        warnings = list(dict.fromkeys([*self._facts.warnings, *self._warnings]))[:MAX_WARNINGS]
        content = {"format": FORMAT, **asdict(self._facts), "warnings": warnings, "reason": reason}
        try:
            write_text_atomic(self._path, json.dumps(content, indent=1) + "\n")
        except OSError as problem:
            logger.warning("`%s` was not written: %s", self._path, problem.strerror or problem)


def facts_from_json(text: str | bytes) -> RunFacts:
    """The content of `run.json`; ValueError if the text is something else."""
    return from_document(RunFacts, json.loads(text), version=FORMAT)


def _earlier(path: Path) -> RunFacts | None:
    """The content of an earlier process of the run; None if it is missing or damaged."""
    try:
        return facts_from_json(read_bounded(path, MAX_BYTES))
    except (DataError, ValueError):
        return None


def environment(device: str) -> dict[str, str]:
    """Versions and machine as text; `device` is what the model runs on."""
    import torch  # reports, which only read the file, need none

    found = {"device": device, "processors": str(available_processors())}
    found["system"] = f"{platform.system()} {platform.release()}, {platform.machine()}"
    found["python"] = platform.python_version()
    found["torch"] = torch.__version__
    if torch.cuda.is_available() and torch.version.cuda is not None:
        found["CUDA"] = torch.version.cuda
    found |= {package: number for package in PACKAGES if (number := installed_version(package))}
    commit = checkout_commit()
    return found | {"commit": commit} if commit else found
