"""Collects the warnings of a run, for its report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

MAX_WARNINGS = 200


class _Collector(logging.Handler):
    """Keeps the messages of warnings and errors, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if len(self.messages) < MAX_WARNINGS and message not in self.messages:
            self.messages.append(message)


@contextmanager
def logged_warnings() -> Iterator[list[str]]:
    """A list to which every warning of the library is added while the block runs; at most 200, none twice."""
    collector, package = _Collector(), logging.getLogger("onelook")
    package.addHandler(collector)
    try:
        yield collector.messages
    finally:
        package.removeHandler(collector)
