"""Keeps the output of converters and run times off the terminal, whether it comes from Python or from C++."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile

logger = logging.getLogger(__name__)

LOGGERS = ("torch.onnx", "torch.onnx._internal.exporter._registration", "torch.export", "nncf", "coremltools")
STREAMS = (1, 2)
MAX_BYTES = 20_000
"""Bytes of captured output that are kept for the log."""


@contextmanager
def quietly() -> Iterator[None]:
    """Send all output of the process to the log at level debug, and drop warnings."""
    before, handlers = {name: logging.getLogger(name).level for name in LOGGERS}, list(logging.root.handlers)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(_captured())
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
            logging.root.handlers[:] = handlers  # ONNX Runtime adds one, and every message would come twice


@contextmanager
def _captured() -> Iterator[None]:
    """C++ code writes to the descriptors, past `sys.stdout`; what Python prints ends there, too."""
    _flush()
    with TemporaryFile() as said:
        kept = [os.dup(number) for number in STREAMS]
        try:
            for number in STREAMS:
                os.dup2(said.fileno(), number)
            yield
        finally:
            _flush()
            for number, copy in zip(STREAMS, kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
            said.seek(0)
            logger.debug("captured output:\n%s", said.read(MAX_BYTES).decode("utf-8", "replace"))


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
