"""Ends a run as soon as it is good enough, or has taken long enough.

onelook train --data bees.yaml --callbacks examples/callbacks/stop_at_target.py
"""

import os
import time

import onelook


class StopAtTarget(onelook.Callback):
    """Ends the run after the epoch in which mAP50-95 reaches TARGET_MAP, or that ends after MAX_MINUTES."""

    def __init__(self):
        self.target = float(os.environ.get("TARGET_MAP", "0.5"))
        self.max_minutes = float(os.environ.get("MAX_MINUTES", "inf"))

    def on_fit_start(self, event):
        self.control = event.control  # the only thing through which an observer may change a run
        self.begun = time.monotonic()

    def on_epoch_end(self, event):
        minutes = (time.monotonic() - self.begun) / 60
        if event.metrics is not None and event.metrics.map50_95 >= self.target:
            self.control.stop_training(f"mAP50-95 {event.metrics.map50_95:.3f} reaches {self.target}")
        elif minutes >= self.max_minutes:
            self.control.stop_training(f"{minutes:.1f} minutes have passed")
