"""How many threads torch may use: as many as this process has processors for, within the quota of its container."""

from __future__ import annotations

import os

import torch

from onelook.data.capacity import available_processors
from onelook.processes.launch_env import processes_here

VARIABLE = "OMP_NUM_THREADS"


def threads_for(num_processes: int) -> int:
    """Threads for each of several processes on this machine that compute at the same time, at least 1."""
    return max(1, available_processors() // num_processes)


def limit_threads() -> None:
    """Lower torch's threads to what this process may use; a number that was set to less, or by the user, stays.

    Torch counts the processors of the machine. Where a container may use two of 64, that many threads wait for each
    other most of the time.
    """
    most = threads_for(processes_here())
    if VARIABLE not in os.environ and torch.get_num_threads() > most:
        torch.set_num_threads(most)
