"""Observers: each event reaches each of them, what fails is named with its line, and they may take any time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onelook.callbacks.user_file import load_callbacks
from onelook.training.callback import Callback, CheckpointWritten, Observers

EVENT = CheckpointWritten(Path("last.safetensors"), epoch=1, step=5, seconds=0.1)
FAILS = """\
from onelook import Callback

def divide(number):
    return 1 / number

class Fails(Callback):
    def on_checkpoint_written(self, event):
        divide(event.epoch - 1)
"""


def test_a_callback_that_fails_is_named_with_the_file_and_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (file := tmp_path / "mine.py").write_text(FAILS)
    observers = Observers(load_callbacks([file]))
    observers.send(EVENT)
    observers.send(EVENT)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"callback `Fails` failed in `{file}` line 4 and is switched off"]


def test_the_watch_over_hanging_processes_rests_while_callbacks_work() -> None:
    order: list[str] = []

    @contextmanager
    def resting() -> Iterator[None]:
        order.append("rests")
        yield
        order.append("watches")

    class Slow(Callback):
        def on_checkpoint_written(self, event: CheckpointWritten) -> None:
            order.append("writes")

    Observers([Slow()], resting=resting).send(EVENT)
    assert order == ["rests", "writes", "watches"]
