"""A finished detector that teaches another: frozen, shown the same images, its classes matched by name.

It can teach its predictions, its features, or both.

It is proved to be the same file after a resume, and measured before it teaches.

Letters: B images, N rows of a prediction, K classes of the student, T of the teacher, A boxes of a cell.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onelook.errors import CheckpointError, ModelError, SettingsError
from onelook.files.bounded import printable, sha256_of
from onelook.inference.backend import TorchBackend
from onelook.inference.evaluator import Evaluator
from onelook.losses.distillation import (
    FEATURE_COLUMNS,
    PREDICTION_COLUMNS,
    DistillationTargets,
    TeacherOutputs,
    TeacherPredictions,
)
from onelook.models.detector import DetectionModel
from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.settings.train import Teach, TrainSettings
from onelook.structures.batch import Targets
from onelook.structures.metrics import DetectionMetrics
from onelook.training.resume import Resumed
from onelook.training.run import Run
from onelook.training.run_model import RunModel
from onelook.training.schedule import decay_factor
from onelook.training.weights import load_detector, located

logger = logging.getLogger(__name__)

LAST_STRENGTH = 0.1
"""Strength of the feature term at the end, after half a cosine from 1: Xu et al., DAMO-YOLO, 2022, section 2.4."""


class Teacher(TorchBackend):
    """A back end that gives the predictions of one model in the classes of another, its student.

    Args:
        model: the teacher; it is not changed.
        teach: which of its outputs the student learns from.
        amp: the precision that the network, but not the decoding, computes in; None for 32 bits.
        digest: SHA-256 of the file that the model came from.

    Raises:
        ModelError: what it teaches cannot be compared with the student's, or no class has the same name.
    """

    def __init__(
        self,
        model: DetectionModel,
        student: DetectionModel,
        *,
        teach: Teach = "predictions",
        amp: torch.dtype | None = None,
        digest: str = "",
    ) -> None:
        super().__init__(model, next(student.parameters()).device)
        self._amp = amp
        self.digest = digest
        self._has_predictions, self._has_features = teach != "features", teach != "predictions"
        self.columns = PREDICTION_COLUMNS * self._has_predictions + FEATURE_COLUMNS * self._has_features
        self._channels = student.feature_channels, model.feature_channels
        self._own_boxes, self._wanted_boxes = (one.head.decoding().boxes_per_cell for one in (model, student))
        have_same_boxes = not self._has_predictions or self._wanted_boxes in (1, self._own_boxes)
        if model.stride_px != student.stride_px or not have_same_boxes:
            raise ModelError(
                f"the teacher has maps of strides {_shown(model.stride_px)} with {self._own_boxes} boxes per cell, the "
                f"student {_shown(student.stride_px)} with {self._wanted_boxes}",
                hint="take a teacher with the same strides; to a student with anchors, one with as many of them, or "
                "use `--teach features`",
            )
        common = {name: number for number, name in enumerate(model.names) if name in student.names}
        if not common:
            raise ModelError(
                f"the teacher knows none of the classes {_shown(student.names)}; it knows {_shown(model.names)}",
                hint="take a teacher that was trained on this dataset",
            )
        self.known = torch.tensor([name in common for name in student.names], device=self.device)
        self._columns = torch.tensor([common.get(name, 0) for name in student.names], device=self.device)
        self.names = student.names
        self.num_classes = student.num_classes

    def document(self) -> dict[str, Any]:
        """What a checkpoint stores about it."""
        return {"teacher": {"digest": self.digest, "names": list(self.names)}}

    def adapters(self, seed: int) -> nn.ModuleList | None:
        """New 1x1 convolutions from the student's channels to its own, on the CPU; None if it teaches no features."""
        if not self._has_features:
            return None
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(seed)
            # Without a bias, which the normalisation that follows would remove.
            return nn.ModuleList(nn.Conv2d(*pair, 1, bias=False) for pair in zip(*self._channels, strict=True))

    def predict(self, images: Tensor) -> Tensor:
        """Decoded predictions (B, N, 5 + K) in the student's classes; classes unknown to the teacher have score 0."""
        return self._predictions(self._features(images))

    @torch.inference_mode()
    def _features(self, images: Tensor) -> list[Tensor]:
        with self._autocast():
            return self._model.features(images)

    @torch.inference_mode()
    def _predictions(self, features: Sequence[Tensor]) -> Tensor:
        with self._autocast():
            found = self._model.decode(self._model.raw_maps(features))
        return torch.cat([found[..., :5], found[..., 5 + self._columns].where(self.known, 0)], dim=-1)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self._amp, enabled=self._amp is not None)

    def targets(
        self, images: Tensor, raw_maps: Sequence[Tensor], own: Targets, share_done: float
    ) -> DistillationTargets:
        """The targets of a batch, with the teacher's outputs for its images.

        Args:
            images: (B, 3, H, W) from 0 to 1.
            raw_maps: the student's, of which the first L are (B, A, H / s, W / s, ...); only these sizes count.
            share_done: share of the run that is done, 0 to 1.
        """
        features = self._features(images)
        outputs = TeacherOutputs(
            predictions=self._in_rows_of_student(self._predictions(features), raw_maps)
            if self._has_predictions
            else None,
            features=tuple(feature.clone() for feature in features) if self._has_features else (),
            strength=torch.full((), decay_factor(share_done, LAST_STRENGTH, cosine=True), device=self.device),
        )
        return DistillationTargets(own.image_index, own.class_ids, own.boxes, outputs)

    def _in_rows_of_student(self, found: Tensor, raw_maps: Sequence[Tensor]) -> TeacherPredictions:
        assert self.map_strides is not None
        predictions = found.clone()  # outside of inference mode, so that it can take part in gradients
        cells = [raw.shape[2] * raw.shape[3] for raw in raw_maps[: len(self.map_strides)]]
        if self._own_boxes > self._wanted_boxes:
            maps = torch.split(predictions, [self._own_boxes * count for count in cells], dim=1)
            predictions = torch.cat([_best_of_cell(rows, self._own_boxes) for rows in maps], dim=1)
        strides = [
            torch.full((self._wanted_boxes * count,), float(stride), device=self.device)
            for count, stride in zip(cells, self.map_strides, strict=True)
        ]
        return TeacherPredictions(predictions, torch.cat(strides), self.known)


def _best_of_cell(rows: Tensor, boxes_per_cell: int) -> Tensor:
    """(B, A * cells, 5 + K) of one map -> (B, cells, 5 + K): of each cell the box that is surest of a class."""
    table = rows.reshape(len(rows), boxes_per_cell, -1, rows.shape[2])  # (B, A, cells, 5 + K)
    surest = (table[..., 4] * table[..., 5:].amax(dim=-1)).argmax(dim=1)  # (B, cells)
    return table.gather(1, surest[:, None, :, None].expand(-1, 1, -1, table.shape[-1]))[:, 0]


def _shown(values: Sequence[object]) -> str:
    shown = [f"`{value}`" for value in values[:5]]
    return ", ".join(shown) + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def teacher_of(model: RunModel, run: Run) -> Teacher | None:
    """The teacher of a run, on its device; None without one. See `check_teacher`."""
    if not run.settings.teacher:
        return None
    return run.group.together(lambda: load_teacher(run.settings, model.model, amp=model.amp))


def check_teacher(
    settings: TrainSettings, student: DetectionModel, *, resumed: Resumed | None, group: ProcessGroup
) -> None:
    """Refuse a teacher before anything is written for a run, or tried.

    Raises:
        CheckpointError: it is missing or damaged, or, in a resumed run, not the file that taught before.
        ModelError: it cannot teach this model.
        SettingsError: processes of the run have different files, or a resumed run had none before, or had one.
    """
    before = resumed.checkpoint.document.get("teacher", {}) if resumed else {}
    if resumed is not None and bool(settings.teacher) != bool(before):
        raise SettingsError(
            f"run `{resumed.run.path}` began {'with' if before else 'without'} a teacher, so it cannot be resumed "
            f"{'without' if before else 'with'} one",
            hint=f"{'give' if before else 'drop'} `--teacher`, or start a new run with `--weights`",
        )
    if not settings.teacher:
        return
    teacher = group.together(lambda: load_teacher(settings, student, amp=None))
    if len(set(group.gather_values(teacher.digest))) > 1:
        raise SettingsError(f"`teacher: {settings.teacher}` is not the same file in all processes of the run")
    if resumed is not None and before["digest"] != teacher.digest:
        raise CheckpointError(
            f"teacher `{settings.teacher}` is not the file that taught run `{resumed.run.path}` before",
            hint="restore it, or start a new run with `--weights`",
        )


def load_teacher(settings: TrainSettings, student: DetectionModel, *, amp: torch.dtype | None) -> Teacher:
    """The teacher that `teacher` names, for a model on its device; errors as `teacher_of` and `Teacher` have them."""
    path = located(Path(settings.teacher))
    detector = load_detector(path, head="many")  # it was trained on more cells per object
    return Teacher(detector, student, teach=settings.teach, amp=amp, digest=sha256_of(path))


def measure_teacher(teacher: Teacher, evaluator: Evaluator, run: Run, stop: StopSignal) -> DetectionMetrics:
    """Log the teacher's accuracy on the validation split: a teacher that does not know such images does harm."""
    metrics = evaluator.run(teacher, stop=stop).metrics
    if run.group.is_first:
        logger.info(
            "teacher `%s`: mAP50 %.4f, mAP50-95 %.4f on the validation images",
            printable(run.settings.teacher),
            metrics.map50,
            metrics.map50_95,
        )
    return metrics
