"""What a launcher has told this process in its environment, and what happens to this process when the launcher dies.

Imports nothing heavy: a command asks for this before it imports torch.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from onelook.runs.process_identity import begin_of

LAUNCHED_BY = "ONELOOK_LAUNCHED_BY"  # number of the process that is our own launcher
PR_SET_PDEATHSIG = 1


def is_launched() -> bool:
    """Whether this process is one of several that a launcher started."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def processes_here() -> int:
    """How many processes of the launch run on this machine; all of them if the launcher does not say."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])) if is_launched() else 1


def has_our_launcher() -> bool:
    """Whether our own launcher has started this process and is alive."""
    return os.environ.get(LAUNCHED_BY) == str(os.getppid())


def shows_result() -> bool:
    """Whether this process shows the user what came out: not if process 0 does it, or our launcher."""
    return os.environ.get("RANK", "0") == "0" and LAUNCHED_BY not in os.environ


def restarts_so_far() -> int:
    """How often the launcher has restarted the processes of this run."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def launch_id() -> str:
    """What the processes of one launch have in common, restarts included; empty without a launcher.

    `torchrun` calls launches by the name it is given, and all others "none"; on one machine the number of its process
    and when that began tell one launch from an earlier one. On several machines, give each job an `--rdzv-id`.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID", "") if is_launched() else ""
    if not name or LAUNCHED_BY in os.environ or processes_here() < int(os.environ["WORLD_SIZE"]):
        return name
    return f"{name}/{os.getppid()}/{begin_of(os.getppid())}"


def stop_with_launcher() -> None:
    """Ask for a SIGTERM, which saves and stops, for the instant when the launcher dies, or now if it is dead already.

    Does nothing in a process without a launcher, or where the system cannot do this.
    """
    if not is_launched() or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.environ.get(LAUNCHED_BY, str(os.getppid())) != str(os.getppid()):
        os.kill(os.getpid(), signal.SIGTERM)
