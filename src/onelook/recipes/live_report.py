"""Follows a training: serves its report on this machine until the run has ended. Reads the run folder only."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from onelook.callbacks.progress_file import read_progress
from onelook.errors import OnelookError, RunFolderError
from onelook.files.bounded import printable
from onelook.processes.stop_signal import StopSignal
from onelook.reports.html import content_policy
from onelook.reports.report import LIVE_SCRIPTS, report_page
from onelook.reports.run_record import read_run
from onelook.runs.process_identity import begin_of, is_alive
from onelook.runs.run_dir import RunDir
from onelook.service.guard import Guard, allowed_names
from onelook.service.live_report import LiveReport, RunState
from onelook.service.packages import require_packages
from onelook.settings.build import build_settings
from onelook.settings.report import ReportSettings

HOST = "127.0.0.1"
POLL_SECONDS = 0.5
SECONDS_WITHOUT_PROCESS = 20.0
"""A launcher starts dead processes again: only a run that has none for so long has ended."""
SECONDS_TO_FETCH = 5.0
"""After the end, for pages that are open: they ask every two seconds."""


def follow(given: Mapping[str, Any], *, file: Path | None = None, on_start: Callable[[str], None]) -> RunState:
    """Serve the report of a run until the run has ended or a signal comes; how the run stands then.

    Args:
        on_start: called with the address as soon as requests are answered.

    Raises:
        SettingsError: a setting or the port cannot be used, or a package is missing.
        RunFolderError: there is no such run, or it has ended already.
    """
    settings = build_settings(ReportSettings, given, file=file)
    require_packages("onelook report --watch")
    from onelook.service.server import running

    run = RunDir(settings.runs[0])
    read_run(run.path)
    watched = _WatchedRun(run)
    if watched.state().ended:
        raise RunFolderError(
            f"run `{printable(run.path)}` is not training",
            hint=f"`onelook report {printable(run.path)}` writes its report",
        )
    pages = LiveReport(watched.state, lambda version: report_page([read_run(run.path)], live=version))
    policy = f"{content_policy(LIVE_SCRIPTS, connects=True)}; frame-ancestors 'none'"
    app = Guard(pages, allowed_names(HOST, ()), policy=policy)
    with StopSignal() as stop, running(app, HOST, settings.port) as server:
        on_start(server.url)
        while not stop.requested and not (watched.state().ended and not _is_open(pages, watched)):
            if not server.wait(POLL_SECONDS):
                raise OnelookError("the server stopped unexpectedly")
    return watched.state()


def _is_open(pages: LiveReport, watched: _WatchedRun) -> bool:
    """Whether a page may still have to fetch how the run has ended."""
    now = time.monotonic()
    return now - watched.ended_at < SECONDS_TO_FETCH and now - pages.last_request < SECONDS_TO_FETCH


class _WatchedRun:
    """Reads the state of a run, and when it was first seen ended, by `time.monotonic`; inf before that."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._last_alive = time.monotonic()
        self.ended_at = float("inf")

    def state(self) -> RunState:
        """Of this instant."""
        status, now = self._run.record, time.monotonic()
        process = {
            "pid": status.pid,
            "host": status.host,
            "boot": status.boot,
            "began": status.ticks or begin_of(status.pid),
        }
        if status.state == "running" and is_alive(process) is not False:
            self._last_alive = now
        is_lost = now - self._last_alive > SECONDS_WITHOUT_PROCESS
        ended = status.state != "running" or is_lost
        if ended:
            self.ended_at = min(self.ended_at, now)
        word = "lost" if is_lost and status.state == "running" else status.state
        return RunState(self._version(), word, ended, None if ended else read_progress(self._run.progress))

    def _version(self) -> str:
        run = self._run
        digest = hashlib.sha256()
        for path in (
            run.settings, run.results, run.speeds, run.status, run.ledger,
            run.metrics, run.metrics_arrays, run.facts, run.examples,
        ):  # fmt: skip
            with suppress(OSError):
                found = path.stat()
                digest.update(f"{path.name} {found.st_mtime_ns} {found.st_size}\n".encode())
        return digest.hexdigest()[:16]
