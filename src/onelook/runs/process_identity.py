"""Tells processes apart, those of other machines, containers and starts of this machine too.

Imports nothing heavy: a command asks for this before it imports torch.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onelook.files.running import is_running

MAX_PID = 1 << 31


def process_identity() -> dict[str, str | int]:
    """What tells this process from all others: its number, its machine, and when both began."""
    number = os.getpid()
    return {"pid": number, "host": platform.node(), "boot": boot_id(), "began": begin_of(number)}


def is_alive(owner: Mapping[str, Any]) -> bool | None:
    """Whether the process with this identity still runs; None of one on another machine or in another container."""
    if owner.get("host") != platform.node():
        return None
    if owner.get("boot") != boot_id():
        return False
    number = owner.get("pid")
    if not isinstance(number, int) or not 0 < number < MAX_PID or not is_running(number):
        return False
    return begin_of(number) == owner.get("began")


def boot_id() -> str:
    """What tells one start of this machine from another; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def begin_of(process: int) -> str:
    """When a process began, in ticks since the machine did; empty where the system does not say."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
        return text.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
