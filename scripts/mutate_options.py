"""Ignore every setting of training and of the search in turn, and see whether its tests notice.

    python scripts/mutate_options.py [SETTING ...] [--limit SECONDS] [--log FILE]

For each setting, the tests that `@covers` names for it run in a process of their own in which the setting keeps its
default whatever was given: in Python, on a command line, in a file of settings or of hyperparameters. A test that
still passes is too weak. First, all of them run with nothing ignored and have to pass. Ends with 1 if they do not, or
if a test survives.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from ignored_setting import TAKERS, ignore_everywhere

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("train", "evolve")
IGNORED = "ONELOOK_IGNORED_SETTING"
STARTUP = f"""\
import os
if os.environ.get("{IGNORED}"):
    from ignored_setting import ignore_in_settings
    ignore_in_settings(os.environ["{IGNORED}"])
"""
PRELOADED = ["pytest", *TAKERS, "onelook.cli.train", "onelook.cli.evolve", "matplotlib.figure", "optuna"]

FAILED, SET_UP, PASSED = "failed", "failed in set-up", "passed"
SKIPPED, LATE, LOST = "skipped", "over the limit", "lost"
NOTICED = (FAILED, SET_UP)


def main() -> int:
    """Run all tests unmutated, then those of each setting mutated; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("settings", nargs="*", help="settings to ignore (default: all)")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one setting (default: 300)")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="where the output of pytest goes")
    arguments = parser.parse_args()
    tests = tests_of_settings(arguments.settings)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    run = functools.partial(outcomes, context, log=arguments.log.resolve())
    sound = run("", sorted({test for names in tests.values() for test in names}), limit=20 * arguments.limit)
    broken = [f"{test}: {outcome}" for test, outcome in sound.items() if outcome not in (PASSED, SKIPPED)]
    print(f"nothing ignored: {len(sound)} tests, {len(sound) - len(broken)} pass or are skipped", *broken, sep="\n  ")
    found = {setting: run(setting, names, limit=arguments.limit) for setting, names in tests.items() if not broken}
    print("\n".join(table(found)))
    return int(bool(broken) or any(outcome not in NOTICED for of in found.values() for outcome in of.values()))


def tests_of_settings(wanted: Sequence[str]) -> dict[str, list[str]]:
    """Setting -> tests, as pytest takes them; those `wanted`, or all if none is named."""
    sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("support", "runs")]
    importlib.import_module("test_options_complete")
    covered: Mapping[tuple[str, str], list[str]] = importlib.import_module("option_runs").COVERED
    tests = {name: sorted(names) for (command, name), names in sorted(covered.items()) if command in COMMANDS}
    unknown = set(wanted) - set(tests)
    if unknown:
        sys.exit(f"no test covers {', '.join(sorted(unknown))}; known are {', '.join(tests)}")
    return {name: tests[name] for name in wanted or tests}


def outcomes(context: Any, setting: str, tests: Sequence[str], *, limit: float, log: Path) -> dict[str, str]:
    """Test -> what happened to it in a process where `setting` is ignored."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=run_tests, args=(setting, list(tests), sender, log))
    process.start()
    sender.close()
    found = dict.fromkeys(tests, LATE)
    end = time.monotonic() + limit
    while receiver.poll(max(0.0, end - time.monotonic())):
        try:
            test, outcome = receiver.recv()
        except EOFError:
            break
        found[test] = outcome
    process.join(max(1.0, end - time.monotonic()))
    if process.exitcode is None:
        os.killpg(process.pid, signal.SIGKILL)
    elif LATE in found.values():
        found = {test: LOST if outcome == LATE else outcome for test, outcome in found.items()}
    print(f"{setting or 'nothing'}: {', '.join(found.values())}", file=sys.stderr, flush=True)
    return found


def run_tests(setting: str, tests: list[str], sender: Connection, log: Path) -> None:
    """Run `tests` in this process without `setting`, and send what happens to each."""
    os.setsid()
    os.chdir(ROOT)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    folder = Path(tempfile.mkdtemp(prefix="mutate-"))
    if setting:
        (folder / "sitecustomize.py").write_text(STARTUP, encoding="utf-8")
        paths = [str(folder), str(ROOT / "scripts"), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ |= {"PYTHONPATH": os.pathsep.join(paths), IGNORED: setting}
        ignore_everywhere(setting)
    quiet = ["-q", "--tb=line", "-p", "no:cacheprovider", "-m", "not gpu", f"--basetemp={folder / 'tests'}"]
    try:
        pytest.main([*quiet, *tests], plugins=[Verdicts(sender)])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Verdicts:
    """Sends what happens to each test function; as soon as one of its cases fails, the others are left out."""

    def __init__(self, sender: Connection) -> None:
        self._sender = sender
        self._found: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Leave out what is decided."""
        if self._found.get(_function(item.nodeid)) in NOTICED:
            pytest.skip("decided")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the worst of all cases: one that fails is enough."""
        test = _function(report.nodeid)
        if report.failed:
            self._found[test] = FAILED if report.when == "call" else SET_UP
        elif report.skipped:
            self._found.setdefault(test, SKIPPED)
        elif report.when == "call" and self._found.get(test) != FAILED:
            self._found[test] = PASSED
        if test in self._found:
            self._sender.send((test, self._found[test]))


def _function(node: str) -> str:
    return node.split("[")[0]


def table(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The lines of the result."""
    kinds = (FAILED, SET_UP, PASSED, SKIPPED, LATE, LOST)
    lines = [f"| setting ignored | {' | '.join(kinds)} |", "| --- |" + " ---: |" * len(kinds)]
    for setting, of in found.items():
        counts = (sum(outcome == kind for outcome in of.values()) for kind in kinds)
        lines.append(f"| `{setting}` | {' | '.join(str(count) for count in counts)} |")
    for setting, of in found.items():
        lines += [f"{setting}: {test} {outcome}" for test, outcome in of.items() if outcome not in NOTICED]
    return lines


if __name__ == "__main__":
    sys.exit(main())
