"""Keeps a run as an event file for TensorBoard, in the run folder; TensorFlow is not needed and not imported."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata

from onelook.callbacks.trackers.event_file import EventFile
from onelook.callbacks.trackers.tracker import best_metrics
from onelook.files.image_headers import read_header
from onelook.files.yaml import dump_yaml
from onelook.training.callback import FitEnd, FitStart

FILE_VERSION = "brain.Event:2"
RGB = 3


class TensorBoardTracker:
    """Scalars by the names of `results.csv` with the epoch as step, settings as text, images as they are.

    A resumed run continues in a file of its own; TensorBoard shows both as one and hides what is done again.
    """

    _folder: Path
    _epoch: int
    _file: EventFile

    def start(self, run: FitStart) -> None:
        """Open the file and write settings and class names."""
        self._folder, self._epoch = run.run_folder, run.start_epoch
        number = f"{time():.6f}.{platform.node()}.{os.getpid()}"
        self._file = EventFile(self._folder / f"events.out.tfevents.{number}")
        self._write(Event(wall_time=time(), file_version=FILE_VERSION))
        begun = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=time(), step=run.start_epoch, session_log=begun))
        self._write_values(_text("settings", run.settings.model_dump(mode="json")))
        self._write_values(_text("model", {"model": run.model_summary, "device": run.device}))
        self._write_values(_text("classes", dict(enumerate(run.names))))

    def log_row(self, epoch: int, row: Mapping[str, float]) -> None:
        """Write a scalar for each number; TensorBoard keeps 32 bits of it."""
        self._epoch = epoch
        self._write_values(*(Summary.Value(tag=name, simple_value=value) for name, value in row.items()))

    def log_images(self, paths: Sequence[Path]) -> None:
        """Write the files as they are, under their names."""
        for path in paths:
            data = path.read_bytes()
            height, width = read_header(data).size_hw
            summary = Summary.Image(height=height, width=width, colorspace=RGB, encoded_image_string=data)
            self._write_values(Summary.Value(tag=f"images/{path.stem}", image=summary))

    def log_model(self, path: Path, aliases: Sequence[str], metadata: Mapping[str, float]) -> None:
        """Write where the checkpoint is: TensorBoard keeps no files."""
        file = path.relative_to(self._folder).as_posix()
        self._write_values(_text(f"models/{path.stem}", {"file": file, "aliases": list(aliases), **metadata}))

    def finish(self, end: FitEnd) -> None:
        """Write the final metrics as scalars `best/...` at the best epoch, and close the file."""
        values = (Summary.Value(tag=name, simple_value=value) for name, value in best_metrics(end).items())
        self._write_values(*values, step=max(end.best_epoch, 0))
        ending = {"reason": end.reason, "epochs_done": end.epochs_done, "best_epoch": end.best_epoch}
        self._write_values(_text("outcome", ending))
        self._file.close()

    def _write_values(self, *values: Summary.Value, step: int | None = None) -> None:
        if values:
            at = self._epoch if step is None else step
            self._write(Event(wall_time=time(), step=at, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        self._file.write(event.SerializeToString())


def _text(tag: str, content: dict[Any, Any]) -> Summary.Value:
    """A text that TensorBoard shows as it is: as a block of code, in which neither Markdown nor HTML means anything."""
    block = "".join(f"    {line}\n" for line in dump_yaml(content).splitlines())
    tensor = TensorProto(
        dtype=DT_STRING,
        string_val=[block.encode("utf-8")],
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
    )
    return Summary.Value(tag=tag, metadata=create_summary_metadata(tag, ""), tensor=tensor)
