"""The exception for requests that are refused."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - not a failure of ours
    """A request that is refused.

    Args:
        status: HTTP status: 400 malformed, 408 too slow, 413 too large, 422 no image or an unknown field,
            503 busy.
        message: what is wrong, with the value and what was expected.
        hint: the cure, if there is one.
        retry_seconds: when to try again; None if that would not help.
    """

    def __init__(self, status: int, message: str, *, hint: str | None = None, retry_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.retry_seconds = retry_seconds
