"""An observer that stops a run."""

from __future__ import annotations

import signal

from onelook.training.callback import Callback, StepEnd


class StopAt(Callback):
    """Sends this process a signal after a number of steps."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        self.step = step
        self.number = number

    def on_step_end(self, event: StepEnd) -> None:
        if event.step == self.step:
            signal.raise_signal(self.number)
