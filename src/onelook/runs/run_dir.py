"""The run folder: the only place that knows its file names; created exclusively, locked while a run lives in it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.errors import RunFolderError
from onelook.files.atomic import remove_orphans, write_bytes_atomic, write_text_atomic

logger = logging.getLogger(__name__)

MAX_NUMBER = 9999


@dataclass(frozen=True)
class RunDir:
    """A run folder and the names of the files in it.

    Attributes:
        path: the folder, which exists.
    """

    path: Path

    @staticmethod
    def create(project: Path, name: str, *, exist_ok: bool = False) -> RunDir:
        """A new folder `project/name`, or `name2`, `name3`, ... if that is taken; two processes never get the same.

        Args:
            project: parent folder; created if missing.
            name: wanted name; folders in it are created too.
            exist_ok: use the folder even if it is there already.

        Raises:
            RunFolderError: the folder cannot be created or written; what was created by then is removed.
        """
        wanted = project / name
        missing: list[Path] = []
        try:
            missing += [folder for folder in (wanted, *wanted.parents) if not folder.exists()]
            wanted.parent.mkdir(parents=True, exist_ok=True)
            folder = _existing(wanted) if exist_ok else _first_free(wanted.parent, wanted.name)
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

    @property
    def weights(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "weights"

    @property
    def last(self) -> Path:
        """The newest complete training state."""
        return self.weights / "last.safetensors"

    @property
    def previous(self) -> Path:
        """The training state before `last`, in case the disk damages that."""
        return self.weights / "previous.safetensors"

    @property
    def best(self) -> Path:
        """The averaged weights of the best epoch, for inference."""
        return self.weights / "best.safetensors"

    def numbered_checkpoint(self, epoch: int) -> Path:
        """The training state kept after `epoch` by `save_period`."""
        return self.weights / f"epoch{epoch}.safetensors"

    @property
    def settings(self) -> Path:
        """All settings of the run."""
        return self.path / "settings.yaml"

    @property
    def results(self) -> Path:
        """One line per epoch."""
        return self.path / "results.csv"

    @property
    def speeds(self) -> Path:
        """One line per epoch and process: what took how long; apart from the results, which repeat exactly."""
        return self.path / "speed.csv"

    @property
    def status(self) -> Path:
        """How the run stands: running, finished, stopped or failed, and with which exit code."""
        return self.path / "status.json"

    @property
    def ledger(self) -> Path:
        """What became of every label row."""
        return self.path / "labels.json"

    @property
    def metrics(self) -> Path:
        """The final evaluation of the best weights."""
        return self.path / "metrics.json"

    @property
    def metrics_arrays(self) -> Path:
        """The final evaluation with its curves, as arrays; see `structures.metrics.as_arrays`."""
        return self.path / "metrics.npz"

    @property
    def facts(self) -> Path:
        """Model, classes, images, machine, versions and warnings; see `callbacks.run_facts`."""
        return self.path / "run.json"

    @property
    def examples(self) -> Path:
        """The best and worst images of the final evaluation, small, with their boxes."""
        return self.path / "examples.json"

    @property
    def report(self) -> Path:
        """All of it as one page."""
        return self.path / "report.html"

    @property
    def comparison(self) -> Path:
        """This run and others side by side, as one page."""
        return self.path / "comparison.html"

    def image(self, name: str) -> Path:
        """The image called `name`."""
        return self.path / name

    def write_status(self, state: str, *, launch: str = "", exit_code: int | None = None, message: str = "") -> None:
        """Write down how the run stands, for schedulers that lose exit codes; a full disk is only warned of.

        Args:
            state: "running", "finished", "stopped" or "failed".
            launch: what the processes of one launch have in common.
            exit_code: of the process; None while it runs.
            message: what went wrong.
        """
        content = {"state": state, "exit_code": exit_code, "message": message, "launch": launch}
        try:
            write_text_atomic(self.status, json.dumps(content, indent=1) + "\n")
        except OSError as problem:
            logger.warning("`%s` was not written: %s", self.status, problem.strerror or problem)

    @property
    def is_finished(self) -> bool:
        """Whether everything is done and written, the final measurement and the images included."""
        return _read_status(self.status).get("state") == "finished"

    def lock(self) -> RunLock:
        """Claim the folder for this process; use as a context manager.

        Raises:
            RunFolderError: another living process on this machine has it.
        """
        return RunLock(self.path / ".lock")


class RunLock:
    """A file that names the process that writes into a run folder; one left by a dead process is taken over."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> RunLock:
        owner = _read_owner(self._path)
        if owner is not None and owner != process_identity() and is_alive(owner):
            raise RunFolderError(
                f"run folder `{self._path.parent}` is in use by process {owner['pid']} on `{owner['host']}`",
                hint=f"wait for it, stop it, or delete `{self._path}` if you are sure that it is gone",
            )
        write_text_atomic(self._path, json.dumps(process_identity()))
        return self

    def __exit__(self, *details: object) -> None:
        self._path.unlink(missing_ok=True)


def newest_run(project: Path) -> Path:
    """The run folder below `project` whose last checkpoint was written most recently.

    Raises:
        RunFolderError: there is none.
    """
    found = sorted(project.glob("**/weights/last.safetensors"), key=lambda path: (path.stat().st_mtime_ns, path))
    if not found:
        raise RunFolderError(
            f"nothing to resume: no `weights/last.safetensors` below `{project}`",
            hint="give the run folder: `--resume runs/train/exp`",
        )
    return found[-1].parent.parent


def run_of_launch(project: Path, launch: str) -> RunDir | None:
    """The run folder below `project` that a launch has begun; None if there is none.

    Args:
        project: parent of run folders.
        launch: as it was given to `RunDir.write_status`; empty matches nothing.
    """
    for path in sorted(project.glob("**/status.json")) if launch else []:
        if _read_status(path).get("launch") == launch:
            return RunDir(path.parent)
    return None


def _read_status(path: Path) -> dict[str, Any]:
    """What `RunDir.write_status` wrote; empty if that is missing or damaged."""
    try:
        status = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


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


def _existing(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _first_free(project: Path, name: str) -> Path:
    for number in range(1, MAX_NUMBER):
        folder = project / (name if number == 1 else f"{name}{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise RunFolderError(f"all names from `{name}` to `{name}{MAX_NUMBER}` are taken in `{project}`")


def process_identity() -> dict[str, str | int]:
    """What tells this process from others: its number and its machine."""
    return {"pid": os.getpid(), "host": platform.node()}


def _read_owner(path: Path) -> dict[str, str | int] | None:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return owner if isinstance(owner, dict) and {"pid", "host"} <= set(owner) else None


def is_alive(owner: dict[str, str | int]) -> bool:
    """Whether the process with this identity still runs; of one on another machine, nothing else is known."""
    if owner["host"] != platform.node():
        return True
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
