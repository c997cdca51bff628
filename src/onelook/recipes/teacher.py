"""The teacher of a run: loaded, proved to be the same file after a resume, and measured before it teaches."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.errors import CheckpointError, SettingsError
from onelook.files.bounded import printable, sha256_of
from onelook.inference.evaluator import Evaluator
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.preparation import Run
from onelook.recipes.run_model import RunModel
from onelook.structures.metrics import DetectionMetrics
from onelook.training.teacher import Teacher
from onelook.training.weights import load_detector, located

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taught:
    """A teacher and the file that it came from.

    Attributes:
        teacher: ready to teach.
        digest: SHA-256 of the file.
    """

    teacher: Teacher
    digest: str

    def document(self) -> dict[str, Any]:
        """What a checkpoint remembers of it."""
        return {"teacher": {"digest": self.digest, "names": list(self.teacher.names)}}


def teacher_of(model: RunModel, run: Run) -> Taught | None:
    """The teacher that `teacher` names, on the device of the run; None without one.

    Raises:
        CheckpointError: it is missing or damaged, or, in a resumed run, not the file that taught before.
        ModelError: it cannot teach this model.
        SettingsError: processes of the run have different files.
    """
    settings, group = run.settings, run.group
    if not settings.teacher:
        return None
    path = located(Path(settings.teacher))
    teacher = group.together(lambda: load_detector(path))
    digest = sha256_of(path)
    if len(set(group.gather_values(digest))) > 1:
        raise SettingsError(f"`teacher: {settings.teacher}` is not the same file in all processes of the run")
    before = run.resumed.checkpoint.document.get("teacher", {}) if run.resumed else {}
    if before.get("digest", digest) != digest:
        raise CheckpointError(
            f"teacher `{path}` is not the file that taught run `{run.folder.path}` before",
            hint="put it back, or start a new run with `--weights`",
        )
    return Taught(Teacher(teacher, model.model, amp=model.amp), digest)


def measure_teacher(taught: Taught, evaluator: Evaluator, run: Run, stop: StopSignal) -> DetectionMetrics:
    """Say how good the teacher is on the validation split: one that does not know the images does harm."""
    metrics = evaluator.run(taught.teacher, stop=stop).metrics
    if run.group.is_first:
        logger.info(
            "teacher `%s`: mAP50 %.4f, mAP50-95 %.4f on the validation images",
            printable(run.settings.teacher),
            metrics.map50,
            metrics.map50_95,
        )
    return metrics
