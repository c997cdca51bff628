"""The run folder: the only place that knows its file names; created exclusively, locked while a run lives in it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onelook.errors import RunFolderError, StopRequested, explained
from onelook.files.atomic import remove_orphans, write_bytes_atomic, write_text_atomic
from onelook.files.bounded import StrPath, printable
from onelook.files.lock import locked
from onelook.files.overwriting import refuse_inputs_inside
from onelook.runs.run_status import RunStatus, begun, read_status

logger = logging.getLogger(__name__)

MAX_NUMBER = 9999


class FileIn:
    """Where a file or folder is: of an object, in the folder that is its `path`; of the class, relative to that."""

    def __init__(self, name: str) -> None:
        self._path = Path(name)

    def __get__(self, folder: Any, kind: type | None = None) -> Path:
        return self._path if folder is None else folder.path / self._path


@dataclass(frozen=True)
class RunDir:
    """A run folder, which exists, and the names of the files in it."""

    path: Path

    weights = FileIn("weights")
    """Folder of the checkpoints."""
    last = FileIn("weights/last.safetensors")
    """The newest complete training state."""
    previous = FileIn("weights/previous.safetensors")
    """The training state before `last`, in case the disk damages that."""
    best = FileIn("weights/best.safetensors")
    """The averaged weights of the best epoch, for inference."""
    settings = FileIn("settings.yaml")
    """All settings of the run."""
    results = FileIn("results.csv")
    """One line per epoch."""
    speeds = FileIn("speed.csv")
    """One line per epoch and process: what took how long; apart from the results, which repeat exactly."""
    status = FileIn("status.json")
    """State of the run: running, finished, stopped or failed, and its exit code."""
    progress = FileIn("progress.json")
    """Where a run is within an epoch; only while it trains."""
    lock_file = FileIn(".lock")
    """Locked while a process works in the folder; what it holds does not matter."""
    split_lists = FileIn("split")
    """Folder of the lists of images, where the run has divided its data."""
    ledger = FileIn("labels.json")
    """What happened to every label row."""
    metrics = FileIn("metrics.json")
    """The final evaluation of the best weights."""
    metrics_arrays = FileIn("metrics.npz")
    """The final evaluation with its curves, as arrays; see `structures.metrics.as_arrays`."""
    facts = FileIn("run.json")
    """Model, classes, images, machine, versions and warnings; see `callbacks.run_facts`."""
    examples = FileIn("examples.json")
    """The best and worst images of the final evaluation, small, with their boxes."""
    gallery = FileIn("val_images.html")
    """All images of an evaluation with their boxes, as a page; the images are in a folder beside it."""
    report = FileIn("report.html")
    """The whole run as one page."""
    comparison = FileIn("comparison.html")
    """This run and others side by side, as one page."""

    @staticmethod
    def create(project: Path, name: str, *, exist_ok: bool = False, inputs: Iterable[StrPath | None] = ()) -> RunDir:
        """A new folder `project/name`, or `name2`, `name3`, ... if that is taken; two processes never get the same.

        Args:
            name: wanted name; folders in it are created too.
            exist_ok: use the folder even if it already exists.
            inputs: files that are read, if given; none of them may lie in a folder that is used again.

        Raises:
            SettingsError: one does.
            RunFolderError: the folder cannot be created or written; what was created by then is removed.
        """
        wanted = project / name
        if exist_ok:
            refuse_inputs_inside(wanted, inputs)
        missing: list[Path] = []
        try:
            missing += [folder for folder in (wanted, *wanted.parents) if not folder.exists()]
            wanted.parent.mkdir(parents=True, exist_ok=True)
            if exist_ok:
                wanted.mkdir(exist_ok=True)
            folder = wanted if exist_ok else _first_free(wanted.parent, wanted.name)
            _try_to_write(folder)
        except OSError as problem:
            _remove_empty(missing)
            raise RunFolderError(
                f"run folder `{wanted}` cannot be written: {problem.strerror or problem}",
                hint="choose another place with `--project`, or free some space",
            ) from problem
        return RunDir(folder)

    @staticmethod
    def open(path: Path) -> RunDir:
        """The run folder of an earlier run; leftovers of killed processes are removed."""
        if not path.is_dir():
            raise RunFolderError(f"run folder `{path}` does not exist")
        run = RunDir(path)
        if run.weights.is_dir():
            remove_orphans(run.weights)
        remove_orphans(path)
        return run

    def numbered_checkpoint(self, epoch: int) -> Path:
        """The training state kept after `epoch` by `save_period`."""
        return self.weights / f"epoch{epoch}.safetensors"

    def image(self, name: str) -> Path:
        """The image called `name`."""
        return self.path / name

    @property
    def record(self) -> RunStatus:
        """What the folder says about its run."""
        return read_status(self.status)

    def begin(self, identity: RunStatus, *, launch: str = "") -> None:
        """Record, before anything else, that this process works on the run `identity` in this folder.

        What an earlier run has left in the folder is not taken for results of this one: its checkpoints stay, unused,
        until others replace them; what would show its end is removed.

        Args:
            identity: record of a new run, or of the one that resumes.

        Raises:
            RunFolderError: it cannot be written; a later resume could not tell whose the checkpoints are.
        """
        before = self.record
        turns = [read_status(path).turn for path in self.path.parent.glob(f"*/{RunDir.status}")]
        try:
            self.progress.unlink(missing_ok=True)
            write_text_atomic(self.status, begun(identity, launch=launch, turns=turns).text())
        except OSError as problem:
            raise RunFolderError(
                f"`{self.status}` cannot be written: {problem.strerror or problem}", hint="free some space"
            ) from problem
        if before.run_id != identity.run_id and (before.state or self.last.exists()):
            for path in (
                self.results, self.speeds, self.metrics, self.metrics_arrays, self.examples, self.report, self.facts
            ):  # fmt: skip
                path.unlink(missing_ok=True)
            for path in self.path.glob("*_id"):
                path.unlink(missing_ok=True)
            logger.warning(
                "run folder `%s` holds an earlier run%s: its checkpoints are not used, and are replaced by new ones",
                self.path,
                f" of {before.began}" if before.began else "",
            )

    def write_status(self, state: str, *, exit_code: int | None = None, message: str = "") -> None:
        """Record the state of the run, for schedulers that lose exit codes; a full disk only causes a warning.

        Args:
            state: "running", "finished", "stopped" or "failed".
            exit_code: exit code of the process; None while it runs.
        """
        try:
            self.progress.unlink(missing_ok=True)
            status = replace(self.record, state=state, exit_code=exit_code, message=message)
            write_text_atomic(self.status, status.text())
        except OSError as problem:
            logger.warning("`%s` was not written: %s", self.status, problem.strerror or problem)

    @contextmanager
    def end_recorded(self) -> Iterator[None]:
        """Write down at the end of the context how the run ended: it has finished, was stopped, or failed."""
        try:
            yield
        except (Exception, KeyboardInterrupt) as problem:
            state = "stopped" if isinstance(problem, StopRequested | KeyboardInterrupt) else "failed"
            found = explained(problem)
            self.write_status(state, exit_code=found["exit_code"], message=found["error"])
            raise
        self.write_status("finished", exit_code=0)

    @property
    def is_finished(self) -> bool:
        """Whether everything is done and written, the final measurement and the images included."""
        return self.record.is_finished

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Claim the folder for this process, until the end of the context or of the process, however that comes.

        Raises:
            RunFolderError: another process has it, or there can be no lock.
        """
        try:
            lock = locked(self.lock_file)
        except TimeoutError as problem:
            raise RunFolderError(
                f"run folder `{self.path}` is in use{_by(self.record)}", hint="wait for it, or stop it"
            ) from problem
        except OSError as problem:
            raise RunFolderError(
                f"run folder `{self.path}` cannot be locked: {problem.strerror or problem}",
                hint=f"delete `{self.lock_file}` if it is not a plain file, or choose another place with `--project`",
            ) from problem
        try:
            yield
        finally:
            lock.release()

    @property
    def is_in_use(self) -> bool:
        """Whether another process works in the folder at this instant."""
        try:
            with self.lock():
                return False
        except RunFolderError:
            return True


def run_of_launch(project: Path, launch: str) -> RunDir | None:
    """The newest run folder below `project` that a launch has worked on; None if there is none.

    Args:
        launch: as it was given to `RunDir.begin`; empty matches nothing.
    """
    found = [RunDir(path.parent) for path in project.glob(f"**/{RunDir.status}")] if launch else []
    return max((run for run in found if run.record.launch == launch), key=lambda run: run.record.turn, default=None)


def _by(status: RunStatus) -> str:
    """Who works in a folder, as far as its record tells."""
    return f" by process {status.pid} on `{printable(status.host)}`" if status.state == "running" else ""


def _try_to_write(folder: Path) -> None:
    """Write and remove a small file; if that fails, `folder` is removed too unless something is in it."""
    probe = folder / ".writable"
    try:
        write_bytes_atomic(probe, b"\0")
    except OSError:
        _remove_empty([folder])
        raise
    probe.unlink()


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove those of `folders` that are there and empty, in this order."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _first_free(project: Path, name: str) -> Path:
    for number in range(1, MAX_NUMBER + 1):
        folder = project / (name if number == 1 else f"{name}{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise RunFolderError(
        f"all names from `{name}` to `{name}{MAX_NUMBER}` are taken in `{project}`", hint="choose another `--name`"
    )
