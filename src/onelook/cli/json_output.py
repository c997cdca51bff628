"""`--json`: what a command gives, or what went wrong, as the only thing on standard output: one JSON document."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from onelook.files.json_values import plain


@contextmanager
def output_on_stderr() -> Iterator[None]:
    """Send standard output to standard error meanwhile, also that of C libraries and of processes started here."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def json_text(value: object, error: Mapping[str, Any]) -> str:
    """The document: `value`, then `error`; in ASCII, since names of files need not be text."""
    return json.dumps({**(plain(value) if value is not None else {}), **error}, indent=1, allow_nan=False)
