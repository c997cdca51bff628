"""How much memory a run holds."""

from __future__ import annotations

import sys

import torch


def memory_held() -> int | None:
    """Bytes: reserved on the GPU, or the most that the process ever had in main memory; None if unknown."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return int(torch.cuda.memory_reserved())
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
