"""What a command gives, and the option that prints it as JSON; imports nothing heavy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JSON_OPTION = "--json"
JSON_HELP = "print the result or the error as JSON on standard output, and all other text on standard error"


@dataclass(frozen=True)
class CommandResult:
    """What a command gives.

    Attributes:
        value: a dataclass or mapping, the document of `--json`; None if there is none, or another process shows it.
        problem: what went wrong, even if there is a value.
    """

    value: object = None
    problem: BaseException | None = None


def document_of(path: Path) -> Any:
    """What a JSON file that the command has just written holds."""
    return json.loads(path.read_bytes())
