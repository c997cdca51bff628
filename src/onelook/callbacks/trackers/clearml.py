"""Keeps a run in ClearML; offline sessions (CLEARML_OFFLINE_MODE=1) lie in ClearML's cache folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onelook.callbacks.trackers.identity import recall_identity, remember_identity
from onelook.callbacks.trackers.tracker import LabelledImage, final_metrics, project_of
from onelook.structures.detections import rows_of
from onelook.training.callback import FitEnd, FitStart

if TYPE_CHECKING:
    from clearml import Task
    from PIL.Image import Image

NAME = "clearml"
MIN_SCORE = 0.25
LABEL_COLOUR, DETECTION_COLOUR = (0, 200, 0), (230, 60, 0)  # RGB
OFFLINE = "offline-"
# What ClearML hooks into by itself; `detect_repository` also asks a server of theirs for newer versions.
FRAMEWORKS = (
    "catboost", "detect_repository", "fastai", "gradio", "hydra", "joblib", "lightgbm", "matplotlib", "megengine",
    "pytorch", "scikit", "tensorboard", "tensorflow", "tfdefines", "xgboost",
)  # fmt: skip
# Reports are sent by threads, not by a fork of the process that trains; the button that aborts a task kills nothing.
OVERRIDES = {"sdk": {"development": {"report_use_subprocess": False, "support_stopping": False}}}


class ClearMlTracker:
    """Settings as a section of parameters, rows as scalars with the epoch as iteration; debug samples; artifacts.

    A resumed run continues in the task that it began, unless that was offline: then it has a session of its own.
    """

    _task: Task
    _epoch: int

    def __init__(self) -> None:
        from clearml import Task
        from clearml.binding.environ_bind import PatchOsFork
        from clearml.config import config_obj

        # Without this, ClearML would report from each of the forked loader processes.
        PatchOsFork._registered_fork_callbacks = True
        config_obj.set_overrides(OVERRIDES)
        Task.set_random_seed(None)  # or it sets the global random seeds
        self._init = Task.init

    def start(self, run: FitStart) -> None:
        """Begin a task, or continue that of a resumed run."""
        identity = recall_identity(run.run_folder, NAME) if run.is_resumed else None
        self._task = self._init(
            project_name=project_of(run.run_folder),
            task_name=run.run_folder.name,
            reuse_last_task_id=identity or False,
            continue_last_task=False if identity is None else 0,  # 0: continue, without an offset of the iterations
            auto_connect_arg_parser=False,
            auto_connect_frameworks=dict.fromkeys(FRAMEWORKS, False),
            auto_connect_streams=False,
            auto_resource_monitoring=False,
        )
        if not self._task.id.startswith(OFFLINE):
            remember_identity(run.run_folder, NAME, self._task.id)
        self._task.connect(run.settings.model_dump(mode="json"), name="settings")
        self._task.connect({str(number): name for number, name in enumerate(run.names)}, name="classes")
        self._epoch = run.start_epoch

    def log_row(self, epoch: int, row: Mapping[str, float]) -> None:
        """Log a scalar for each number; what stands before the slash is its title."""
        self._epoch = epoch
        for name, value in row.items():
            title, _, series = name.partition("/")
            self._task.get_logger().report_scalar(title, series, value, iteration=epoch)

    def log_images(self, paths: Sequence[Path]) -> None:
        """Log the files as debug samples."""
        for path in paths:
            self._task.get_logger().report_image("images", path.name, self._epoch, local_path=str(path))

    def log_boxes(self, epoch: int, images: Sequence[LabelledImage]) -> None:
        """Log images with labels and detections drawn on them as debug samples."""
        for labelled in images:
            self._task.get_logger().report_image("boxes", labelled.path.name, epoch, image=drawn_boxes(labelled))

    def log_model(self, path: Path, aliases: Sequence[str], metadata: Mapping[str, float]) -> None:
        """Log the checkpoint as an artifact that is called by its first alias."""
        values = {name: str(value) for name, value in metadata.items()}
        self._task.upload_artifact(aliases[0], path, metadata=values, wait_on_upload=True)

    def finish(self, end: FitEnd) -> None:
        """Log the final metrics as single values, and close the task."""
        for name, value in {**final_metrics(end), "best_epoch": float(end.best_epoch)}.items():
            self._task.get_logger().report_single_value(name.removeprefix("metrics/"), value)
        self._task.close()


def drawn_boxes(labelled: LabelledImage) -> Image:
    """The image after EXIF rotation, with labels in green and detections of at least `MIN_SCORE` in red."""
    from PIL import Image, ImageDraw, ImageOps

    with Image.open(labelled.path) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    draw = ImageDraw.Draw(image)
    for box, class_id in labelled.labels:
        _draw_box(draw, box, labelled.names[class_id], LABEL_COLOUR)
    for box, score, class_id, _ in rows_of(labelled.detections):
        if score >= MIN_SCORE:
            _draw_box(draw, box, f"{labelled.names[class_id]} {score:.2f}", DETECTION_COLOUR)
    return image


def _draw_box(draw: Any, box: list[float], text: str, colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    draw.rectangle((left, top, max(right, left), max(bottom, top)), outline=colour, width=2)
    draw.text((left + 3, top + 1), text, fill=colour)
