"""Writes what happens in a run to `events.jsonl` in the run folder, one JSON document per line.

onelook train --data bees.yaml --callbacks examples/callbacks/log_to_file.py
"""

import json

import onelook


class LogToFile(onelook.Callback):
    """Appends a line at the start, after every epoch and checkpoint, and at the end; a resumed run continues in it."""

    def on_fit_start(self, event):
        self.path = event.run_folder / "events.jsonl"
        self.write("start", epoch=event.start_epoch, images=event.num_train_images, classes=list(event.names))

    def on_epoch_end(self, event):
        best = {"fitness": event.metrics.fitness, "is_best": event.is_best} if event.metrics is not None else {}
        self.write("epoch", epoch=event.epoch, seconds=round(event.train_seconds + event.val_seconds, 3), **best)

    def on_checkpoint_written(self, event):
        self.write("checkpoint", epoch=event.epoch, file=event.path.name, seconds=round(event.seconds, 3))

    def on_fit_end(self, event):
        self.write("end", epochs=event.epochs_done, reason=event.reason, best_epoch=event.best_epoch)

    def write(self, what, **values):
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": what, **values}) + "\n")
