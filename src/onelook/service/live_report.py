"""The report of a training run over HTTP: the page, and the state that it polls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from onelook.callbacks.progress_file import EpochProgress
from onelook.service.guard import Receive, Scope, Send


@dataclass(frozen=True)
class RunState:
    """What the page polls every two seconds.

    Attributes:
        version: changes whenever a file of the run folder does.
        ended: whether nothing more will change.
        progress: where the run is within an epoch; None if unknown.
    """

    version: str
    state: str
    ended: bool
    progress: EpochProgress | None = None


class LiveReport:
    """An application that serves the page at `/` and the state at `/state`.

    Attributes:
        last_request: `time.monotonic()` of the last request; 0 before the first.
    """

    def __init__(self, state: Callable[[], RunState], page: Callable[[str], str]) -> None:
        self._state, self._page = state, page
        self._made = ("", b"")
        self.last_request = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        from starlette.responses import HTMLResponse, JSONResponse, Response

        self.last_request = time.monotonic()
        asked = (scope["method"], scope["path"])
        answer: Response
        if asked == ("GET", "/"):
            answer = HTMLResponse(await asyncio.to_thread(self._newest))
        elif asked == ("GET", "/state"):
            answer = JSONResponse(asdict(self._state()))
        else:
            text = f"`{' '.join(asked)}` is not known here"
            answer = JSONResponse({"error": text, "hint": "known are GET / and GET /state"}, 404)
        await answer(scope, receive, send)

    def _newest(self) -> bytes:
        """The page, rendered again only if the run folder has changed."""
        version = self._state().version
        if self._made[0] != version:
            self._made = (version, self._page(version).encode())
        return self._made[1]
