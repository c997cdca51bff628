"""The report of a run that is training, over HTTP: the page, and which version of it is the newest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from onelook.callbacks.progress_file import EpochProgress
from onelook.service.guard import Receive, Scope, Send


@dataclass(frozen=True)
class RunState:
    """What the page asks for every two seconds.

    Attributes:
        version: version of the run folder; changes whenever a file in it does.
        state: how the run stands, in a word.
        ended: whether nothing more will change.
        progress: where the run is within an epoch; None while nobody knows.
    """

    version: str
    state: str
    ended: bool
    progress: EpochProgress | None = None


class LiveReport:
    """An application that gives the page at `/` and the state at `/state`.

    Attributes:
        last_request: when it was asked last, by the clock `time.monotonic`; 0 if never.
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
        """The page, made again only if its version is not the newest."""
        version = self._state().version
        if self._made[0] != version:
            self._made = (version, self._page(version).encode())
        return self._made[1]
