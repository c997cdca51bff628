"""What converters say does not reach the user's screen, but can be had from the log."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from onelook.exports.quiet import LOGGERS, quietly


@contextmanager
def real_streams() -> Iterator[None]:
    """`sys.stdout` and `sys.stderr` write to their descriptors, as in a program; in tests they do not."""
    stdout, stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    with stdout, stderr, redirect_stdout(stdout), redirect_stderr(stderr):
        yield


def speak() -> None:
    sys.stdout.write("a line of Python\n")
    sys.stderr.write("a warning of Python\n")
    os.write(1, b"a line of C++\n")
    os.write(2, b"a warning of C++\n")
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    logging.getLogger(LOGGERS[0]).warning("a converter's doubts")


def test_nothing_is_seen_meanwhile_and_all_is_in_the_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="onelook.exports.quiet"), real_streams(), quietly():
        speak()
    assert capfd.readouterr() == ("", "")
    (record,) = (item for item in caplog.records if item.name == "onelook.exports.quiet")
    for said in ("a line of Python", "a warning of Python", "a line of C++", "a warning of C++"):
        assert said in record.getMessage()
    assert "doubts" not in caplog.text


def test_all_is_seen_again_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    level = logging.getLogger(LOGGERS[0]).level
    handlers = list(logging.root.handlers)
    with pytest.raises(ValueError, match="no"), quietly():
        logging.root.addHandler(logging.NullHandler())
        raise ValueError("no")
    assert logging.root.handlers == handlers
    with real_streams():
        sys.stdout.write("back\n")
    os.write(2, b"here\n")
    assert capfd.readouterr() == ("back\n", "here\n")
    assert logging.getLogger(LOGGERS[0]).level == level
