"""Why the processes of a run end: the first that fails leaves its reason for the others, and speaks to the user."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onelook.errors import OnelookError

KEY = "onelook/error"
SECONDS_TO_WAIT = 1.0
SECONDS_BETWEEN_POLLS = 0.02


@dataclass(frozen=True)
class FailureStore:
    """The one reason why a run ends, in the store that all its processes share."""

    rank: int
    store: Any

    def give(self, problem: OnelookError) -> bool:
        """Tell the others why this process ends; whether it is the first to give a reason."""
        mine = json.dumps({"rank": self.rank, **described(problem)})
        try:
            return bool(self.store.compare_set(KEY, "", mine).decode("utf-8") == mine)
        except RuntimeError:  # the process that keeps the store is gone: no other will report
            return True

    def given(self) -> OnelookError | None:
        """The reason that another process gave, or gives within a second; None if it gave none."""
        limit = time.monotonic() + SECONDS_TO_WAIT
        try:
            while not self.store.check([KEY]):
                if time.monotonic() > limit:
                    return None
                time.sleep(SECONDS_BETWEEN_POLLS)
            return rebuilt(json.loads(self.store.get(KEY)))
        except RuntimeError:  # the process that keeps the store is gone
            return None


def described(problem: OnelookError) -> dict[str, Any]:
    """An error as plain JSON."""
    return {"kind": type(problem).__name__, "message": problem.message, "hint": problem.hint}


def rebuilt(description: Mapping[str, Any]) -> OnelookError:
    """The error that another process described, marked as told to the user."""
    kinds = {kind.__name__: kind for kind in OnelookError.__subclasses__()}
    problem = kinds.get(description["kind"], OnelookError)(description["message"], hint=description["hint"])
    problem.is_told = True
    return problem
