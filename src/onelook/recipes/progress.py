"""Words on how far long work is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_REPORTS = 10.0


def said_now_and_then(what: str) -> Callable[[int, int], None]:
    """Takes (done, in all, or 0 if that is not known) and logs it, if the work takes long.

    Args:
        what: is counted.
    """
    said = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > SECONDS_BETWEEN_REPORTS:
            said = time.monotonic()
            logger.info("%s: %s%s", what, f"{done:,}", f" of {total:,}" if total else "")

    return report
