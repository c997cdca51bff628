"""What a run folder says about its run: how it stands, which run it is, and who works on it; kept in `status.json`."""

from __future__ import annotations

import json
import os
import platform
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from onelook.errors import DataError
from onelook.files.bounded import read_bounded
from onelook.runs.process_identity import begin_of, boot_id

MAX_BYTES = 1 << 20
MAX_TURN = 1 << 62
FINISHED = "finished"
_KINDS: dict[str, type] = {"exit_code": int, "turn": int, "pid": int}


@dataclass(frozen=True)
class RunStatus:
    """How a run stands, by its own record.

    Attributes:
        state: "running", "finished", "stopped" or "failed"; empty if there is no record.
        exit_code: exit code of the last process; None while one is at work.
        launch: what the processes of one launch have in common.
        run_id: identifier of the run, also in all its checkpoints; empty for runs of older versions.
        began: date and time, UTC.
        turn: grows with every process that begins to work on a run; the newest run has the highest.
        pid, host, boot: the process that works on the run, its machine, and since which start of it.
        ticks: when the process began, see `begin_of`.
    """

    state: str = ""
    exit_code: int | None = None
    message: str = ""
    launch: str = ""
    run_id: str = ""
    began: str = ""
    turn: int = 0
    pid: int = 0
    host: str = ""
    boot: str = ""
    ticks: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether everything is done and written."""
        return self.state == FINISHED

    def text(self) -> str:
        """What `read_status` reads."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_status(path: Path) -> RunStatus:
    """What `path` says; fields that are missing or impossible are empty, whoever wrote the file."""
    try:
        found = json.loads(read_bounded(path, MAX_BYTES))
    except (DataError, ValueError, RecursionError):
        return RunStatus()
    known = {field.name for field in fields(RunStatus)}
    values = found.items() if isinstance(found, dict) else ()
    status = RunStatus(**{name: value for name, value in values if name in known and _is_possible(name, value)})
    return status if 0 <= status.turn < MAX_TURN else replace(status, turn=0)


def begun(before: RunStatus, *, launch: str, turns: Iterable[int]) -> RunStatus:
    """The record of this process, which begins to work on the run of `before`.

    Args:
        before: its `run_id` and `began` are kept; without an id the run is new.
        turns: turns of the runs beside it. Clocks jump: the new turn is higher than all of them, whatever the time.
    """
    turn = max(time.time_ns() // 1_000_000, 1 + max(turns, default=0))
    return RunStatus(
        state="running",
        launch=launch,
        run_id=before.run_id,
        began=before.began,
        turn=min(turn, MAX_TURN - 1),
        pid=os.getpid(),
        host=platform.node(),
        boot=boot_id(),
        ticks=begin_of(os.getpid()),
    )


def new_run() -> RunStatus:
    """The identity of a run that has not begun yet."""
    return RunStatus(run_id=uuid.uuid4().hex, began=utc_now())


def utc_now() -> str:
    """Date and time, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_possible(name: str, value: Any) -> bool:
    kind = _KINDS.get(name, str)
    return (name == "exit_code" and value is None) or (isinstance(value, kind) and not isinstance(value, bool))
