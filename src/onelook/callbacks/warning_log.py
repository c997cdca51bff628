"""The warnings of a run, kept for its report: on the console they are gone when the window is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

MOST = 200


class _Notes(logging.Handler):
    """Keeps the messages of warnings and errors, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if len(self.messages) < MOST and message not in self.messages:
            self.messages.append(message)


@contextmanager
def logged_warnings() -> Iterator[list[str]]:
    """A list to which every warning of the library is added while the block runs; at most 200, none twice."""
    notes, package = _Notes(), logging.getLogger("onelook")
    package.addHandler(notes)
    try:
        yield notes.messages
    finally:
        package.removeHandler(notes)
