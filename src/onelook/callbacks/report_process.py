"""Starts a separate process that serves the report of a training; it ends with the run."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys

from onelook.processes.launch_env import LAUNCHED_BY
from onelook.settings.report import PORT
from onelook.training.callback import Callback, FitStart

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
# With these variables of a launcher the process would take itself for a rank of the run.
OF_A_LAUNCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", LAUNCHED_BY)


class ReportProcess(Callback):
    """Serves the report while a run trains; the training neither waits for the process nor depends on it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None  # kept, or Python warns that it still runs

    def on_fit_start(self, event: FitStart) -> None:
        """Start the process, and log the address of the report."""
        port = free_port(PORT)
        environment = {name: value for name, value in os.environ.items() if name not in OF_A_LAUNCH}
        command = ["report", str(event.run_folder.resolve()), "--watch", f"--port={port}"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "onelook", *command],
            env={**environment, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the training; the process sees how that ends
        )
        logger.info("the report will follow the run at http://%s:%d in a few seconds", HOST, port)


def free_port(wanted: int) -> int:
    """`wanted` if it is free on this machine, else another port."""
    try:
        listener = socket.create_server((HOST, wanted))
    except OSError:
        listener = socket.create_server((HOST, 0))
    with listener:
        return int(listener.getsockname()[1])
