"""`--forks N`: the tests are collected once and run in N processes that are forked then, with all that is imported.

A process runs the tests of one file after the other; when no file is left, half of what another has still to do.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import traceback
import warnings
from collections import deque
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--forks", type=int, default=0, help="processes that run the tests; on Linux, which can fork safely"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    options = session.config.option
    if sys.platform != "linux" or not options.forks or options.collectonly or session.testsfailed or not session.items:
        return None
    Team(session).run(options.forks)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    return True


@dataclass
class Worker:
    """A process, and tests by their numbers.

    Attributes:
        told: those that it has and has not finished; what comes after a test decides which fixtures stay.
        left: those that it will be told next.
        is_ending: it was told that there are no more.
    """

    pid: int
    connection: Connection
    told: deque[int] = field(default_factory=deque)
    left: deque[int] = field(default_factory=deque)
    is_ending: bool = False


class Team:
    """The processes of a session, as the one sees them that has collected the tests.

    Attributes:
        files: numbers of the tests of each file that nobody has begun.
    """

    def __init__(self, session: pytest.Session) -> None:
        self.session, self.hook = session, session.config.hook
        numbers = groupby(range(len(session.items)), key=lambda number: session.items[number].path)
        self.files = deque(deque(group) for _, group in numbers)
        self.workers: list[Worker] = []
        self.started = 0

    def run(self, size: int) -> None:
        """Run all tests, and leave no process behind."""
        self.session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        try:
            for _ in range(min(size, len(self.session.items))):
                self.start()
            while self.workers:
                by_connection = {worker.connection: worker for worker in self.workers}
                for ready in wait(list(by_connection)):
                    self.hear(by_connection[ready])  # type: ignore[index]
        finally:
            for worker in self.workers:
                os.kill(worker.pid, signal.SIGKILL)
                os.waitpid(worker.pid, 0)

    def start(self) -> None:
        ours, theirs = Pipe()
        self.started += 1
        pid = os.fork()
        if not pid:
            for connection in (ours, *(worker.connection for worker in self.workers)):
                connection.close()
            work(self.session, theirs, self.started)
        theirs.close()
        self.workers.append(Worker(pid, ours))
        self.tell(self.workers[-1])
        self.tell(self.workers[-1])

    def tell(self, worker: Worker) -> None:
        """Give a process one more test, or say that there are no more."""
        if worker.is_ending:
            return
        if not worker.left:
            worker.left = self.files.popleft() if self.files else self.stolen()
        worker.is_ending = not worker.left or bool(self.session.shouldfail)
        if not worker.is_ending:
            worker.told.append(worker.left.popleft())
        worker.connection.send(None if worker.is_ending else worker.told[-1])

    def stolen(self) -> deque[int]:
        longest = max((worker.left for worker in self.workers), key=len)
        return deque(reversed([longest.pop() for _ in range((len(longest) + 1) // 2)]))

    def hear(self, worker: Worker) -> None:
        """Take a message of a process, or note its end."""
        try:
            kind, *content = worker.connection.recv()
        except (EOFError, OSError):
            self.bury(worker)
            return
        if kind == "report":
            report = self.hook.pytest_report_from_serializable(config=self.session.config, data=content[0])
            self.hook.pytest_runtest_logreport(report=report)
        elif kind == "warning":
            text, file, line, when, nodeid, location = content
            message = warnings.WarningMessage(UserWarning(text), UserWarning, file, line)
            given = {"warning_message": message, "when": when, "nodeid": nodeid, "location": location}
            self.hook.pytest_warning_recorded.call_historic(kwargs=given)
        else:
            item = self.session.items[worker.told.popleft()]
            self.hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            self.tell(worker)

    def bury(self, worker: Worker) -> None:
        """A process has ended: its last test has failed unless it was told to end; another takes its place."""
        self.workers.remove(worker)
        status = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        if not worker.told:
            return
        item = self.session.items[worker.told.popleft()]
        reason = f"the process of this test ended with {status}"
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", reason, "call")
        self.hook.pytest_runtest_logreport(report=report)
        self.files.appendleft(worker.told + worker.left)
        self.start()


class Teller:
    """In a process: tells the one that collected the tests what happens."""

    connection: Connection | None = None

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        config.pluginmanager.register(self)  # which hears of the warnings of the collection once more

    def tell(self, *message: Any) -> None:
        if self.connection is not None:
            self.connection.send(message)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.tell("report", data)

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: Any
    ) -> None:
        told = warning_message
        text = f"{told.category.__name__}: {told.message}"
        self.tell("warning", text, told.filename, told.lineno, when, nodeid, location)


def work(session: pytest.Session, connection: Connection, number: int) -> NoReturn:
    """Run the tests that come through the connection until none does, and end."""
    status = 1
    try:
        plugins = session.config.pluginmanager
        plugins.unregister(name="terminalreporter")
        Teller(session.config).connection = connection
        capturing = plugins.getplugin("capturemanager")
        capturing.stop_global_capturing()  # into a file that all processes would share
        capturing.start_global_capturing()
        capturing.suspend_global_capture()
        factory = session.config._tmp_path_factory  # type: ignore[attr-defined]
        factory._basetemp = factory.getbasetemp() / f"fork{number}"
        factory._basetemp.mkdir(mode=0o700)
        current = connection.recv()
        while current is not None:
            following = connection.recv()
            nextitem = None if following is None else session.items[following]
            session.config.hook.pytest_runtest_protocol(item=session.items[current], nextitem=nextitem)
            connection.send(("done",))
            current = following
        atexit._run_exitfuncs()
        status = 0
    except BaseException:  # noqa: BLE001 - it must not return into the session that was forked
        traceback.print_exc()
    os._exit(status)
