"""Keeps a run in Weights & Biases; what is not sent (WANDB_MODE=offline) lies in the folder `wandb` of the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from onelook.callbacks.trackers.dataset_files import dataset_images, dataset_name, dataset_texts
from onelook.callbacks.trackers.identity import recall_identity, remember_identity
from onelook.callbacks.trackers.tracker import LabelledImage, best_metrics, project_of
from onelook.errors import SettingsError
from onelook.structures.detections import rows_of
from onelook.training.callback import FitEnd, FitStart

if TYPE_CHECKING:
    from wandb import Image, Run

logger = logging.getLogger(__name__)

NAME = "wandb"
MAX_BOXES = 50
FINISH_SECONDS = 50.0
SPLITS = {"all": ("train", "val"), "val": ("val",)}
# What W&B gathers by itself: output, code, commit, machine, load, installed packages.
UNASKED: dict[str, Any] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "save_code": False,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


class WandbTracker:
    """Settings as configuration; rows with `epoch` as their axis; images, boxes; models and dataset as artifacts.

    A resumed run continues in the W&B run that it began. W&B takes no value for a step that has passed, therefore the
    steps only follow the epochs as long as these come in order.
    """

    _run: Run

    def __init__(self) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        # Errors that W&B shows on the console are raised or logged as well.
        self._options = wandb.Settings(silent=True, **UNASKED)
        if "WANDB_FINISH_TIMEOUT" not in os.environ:
            self._options.finish_timeout = FINISH_SECONDS
        self._step = 0
        self._has_row = False

    def start(self, run: FitStart) -> None:
        """Begin a W&B run, or continue that of a resumed run, and send the dataset if that is asked for.

        Raises:
            SettingsError: W&B is to be contacted and there is no key; it would ask for one, and training would wait.
        """
        import wandb

        if wandb.setup().settings.mode in {"online", "run", "shared"} and not wandb.login(prompt=False, verify=False):
            raise SettingsError(
                "Weights & Biases has no key to log in with",
                hint="run `wandb login` once, or set WANDB_MODE=offline and send the run later with `wandb sync`",
            )
        try:
            self._run = self._begin(run)
        except wandb.errors.CommError as problem:
            logger.warning("tracker `wandb` works offline, `wandb sync` sends the run later: %s", problem)
            self._run = self._begin(run, mode="offline")
        remember_identity(run.run_folder, NAME, self._run.id)
        logger.info("tracker `wandb`: %s", Path(self._run.dir).parent if self._run.offline else self._run.url)
        self._step = max(run.start_epoch, self._run.step)
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")
        if run.settings.upload_dataset != "none":
            self._log_dataset(run, SPLITS[run.settings.upload_dataset])

    def _begin(self, run: FitStart, mode: Literal["offline"] | None = None) -> Run:
        """The W&B run, which a resumed run continues in; CommError if there is no answer, or it is a refusal."""
        import wandb

        identity = recall_identity(run.run_folder, NAME) if run.is_resumed else None
        settings = run.settings.model_dump(mode="json")
        return wandb.init(
            entity=run.settings.entity or None,
            project=os.environ.get("WANDB_PROJECT") or project_of(run.run_folder),
            name=run.run_folder.name,
            id=identity,
            resume=None if identity is None else "allow",
            dir=run.run_folder,
            config={**settings, "class_names": list(run.names), "model": run.model_summary},
            settings=self._options,
            mode=mode,
            reinit="create_new",
        )

    def log_row(self, epoch: int, row: Mapping[str, float]) -> None:
        """Log the row with its epoch."""
        self._step = max(epoch, self._step + self._has_row)
        self._has_row = True
        self._run.log({"epoch": epoch, **row}, step=self._step)

    def log_images(self, paths: Sequence[Path]) -> None:
        """Log the files under their names."""
        import wandb

        self._run.log({f"images/{path.stem}": wandb.Image(str(path)) for path in paths}, step=self._step)

    def log_boxes(self, epoch: int, images: Sequence[LabelledImage]) -> None:
        """Log images with labels and detections in two layers, the latter with their scores to choose by."""
        self._run.log({"epoch": epoch, "boxes": [_boxed(image) for image in images]}, step=self._step)

    def log_model(self, path: Path, aliases: Sequence[str], metadata: Mapping[str, float]) -> None:
        """Log a version of the artifact of the run; W&B calls the newest `latest`, too."""
        import wandb

        artifact = wandb.Artifact(f"run_{self._run.id}_model", type="model", metadata=dict(metadata))
        # W&B copies the best, which a resumed run may replace before it is sent; checkpoints of epochs stay.
        artifact.add_file(str(path), policy="mutable" if "best" in aliases else "immutable", skip_cache=True)
        self._run.log_artifact(artifact, aliases=list(aliases))

    def finish(self, end: FitEnd) -> None:
        """Log the final metrics as `best/...` in the summary, and wait until what waits is sent, or written."""
        self._run.summary.update({**best_metrics(end), "best/epoch": end.best_epoch, "reason": end.reason})
        self._run.finish()

    def _log_dataset(self, run: FitStart, splits: Sequence[str]) -> None:
        """Log images, where they lie, and labels as an artifact; W&B sends only what it does not have yet."""
        import wandb

        metadata = {"names": list(run.names), **{f"{split}_images": len(run.indexes[split]) for split in splits}}
        artifact = wandb.Artifact(dataset_name(run), type="dataset", metadata=metadata)
        for name, path in dataset_images(run, splits):
            artifact.add_file(str(path), name=name, policy="immutable", skip_cache=True)
        for name, text in dataset_texts(run, splits):
            with artifact.new_file(name, encoding="utf-8") as file:
                file.write(text)
        self._run.log_artifact(artifact, aliases=[run.settings.artifact_alias])


def _boxed(image: LabelledImage) -> Image:
    import wandb

    found = rows_of(image.detections)[:MAX_BOXES]
    layers = {
        "predictions": [_box(image, box, class_id, score) for box, score, class_id, _ in found],
        "labels": [_box(image, box, class_id) for box, class_id in image.labels[:MAX_BOXES]],
    }
    class_labels = dict(enumerate(image.names))
    boxes: dict[str, Any] = {name: {"box_data": rows, "class_labels": class_labels} for name, rows in layers.items()}
    return wandb.Image(str(image.path), boxes=boxes, caption=image.path.name)


def _box(image: LabelledImage, box: list[float], class_id: int, score: float | None = None) -> dict[str, Any]:
    """One box as W&B takes it; corners are fractions, which hold for an image that a viewer has turned, too."""
    height, width = image.size_hw
    left, top, right, bottom = box
    position = {"minX": left / width, "minY": top / height, "maxX": right / width, "maxY": bottom / height}
    shown = {"position": position, "class_id": class_id, "box_caption": image.names[class_id]}
    if score is None:
        return shown
    return {**shown, "scores": {"score": score}, "box_caption": f"{image.names[class_id]} {score:.2f}"}
